-- retire drops what its home no longer keeps. Of a note a mark stays for an hour,
-- so that a publication which is under way does not bring it back. ARGV: note,
-- what (audio or note). Answers: BUSY while a job of the note is under way, else OK.
local note, what = ARGV[1], ARGV[2]
local N = P .. 'note:' .. note
local at = redis.call('HMGET', N, 'jobs', 'mailbox')
local dead = {}
for id in (at[1] or ''):gmatch('%S+') do
  local state = redis.call('HGET', P .. 'job:' .. id, 'state')
  if state == 'queued' or state == 'sending' then return 'BUSY' end
  if state == 'dead' then dead[#dead + 1] = id end
end
redis.call('DEL', P .. 'audio:' .. note)
if what == 'note' then
  for _, id in ipairs(dead) do
    redis.call('DEL', P .. 'job:' .. id)
    redis.call('HINCRBY', P .. 'depth', 'dead', -1)
  end
  redis.call('DEL', N)
  redis.call('HSET', N, 'erased', 1)
  redis.call('EXPIRE', N, 3600)
  redis.call('ZREM', P .. 'inbox:' .. (at[2] or ''), note)
end
return 'OK'
