-- jobs says how a note's jobs stand; those whose tombstones are gone are left
-- out. ARGV: note. Answers: NONE, else the jobs.
local ids = redis.call('HGET', P .. 'note:' .. ARGV[1], 'jobs')
if not ids then return 'NONE' end
local answers = {}
for id in ids:gmatch('%S+') do
  local j = read(id)
  if j.state then answers[#answers + 1] = standing(j) end
end
return answers
