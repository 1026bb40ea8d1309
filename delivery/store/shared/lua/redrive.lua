-- redrive queues a note's dead jobs again, from the first target of their
-- chains. What is unknown of earlier attempts is not forgotten.
-- ARGV: machine, note, then the jobs (none: all). Answers the jobs.
local wanted, answers = {}, {}
for i = 3, #ARGV do
  wanted[ARGV[i]] = true
end
local ids = redis.call('HGET', P .. 'note:' .. ARGV[2], 'jobs')
if not ids then return 'NONE' end
for id in ids:gmatch('%S+') do
  local j = read(id)
  if j.state == 'dead' and (#ARGV == 2 or wanted[id]) then
    afresh(j)
    become(j, 'queued', { step = 0, attempt = 0, first = 0, waits = 0, next = now, round = j.round + 1 })
    join(j)
    tell(j, ARGV[1], 'redriven')
    answers[#answers + 1] = standing(j)
  end
end
return answers
