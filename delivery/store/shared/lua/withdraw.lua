-- withdraw takes a note and its jobs out, tombstones included, for its home to
-- publish them in another form. ARGV: machine, note.
local N = P .. 'note:' .. ARGV[2]
local at = redis.call('HMGET', N, 'jobs', 'mailbox', 'home')
if at[3] ~= ARGV[1] then return 'NONE' end
for id in at[1]:gmatch('%S+') do
  local j = read(id)
  if counted[j.state] then conclude(j, 'erased') end
  redis.call('DEL', P .. 'job:' .. id)
end
redis.call('DEL', N, P .. 'audio:' .. ARGV[2])
redis.call('ZREM', P .. 'inbox:' .. at[2], ARGV[2])
return 'OK'
