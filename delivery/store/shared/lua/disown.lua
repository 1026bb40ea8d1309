-- disown forgets all that channels remember of a mailbox, and what is told later
-- and was changed before. ARGV: mailbox. Answers: how much it was.
local mailbox = ARGV[1]
evenFull()
local keys = redis.call('SMEMBERS', P .. 'memories:' .. mailbox)
for _, key in ipairs(keys) do
  local at = tonumber(redis.call('HGET', P .. 'memory:' .. key, 'at'))
  record({ key = key, value = '', mailbox = '', at = math.max(now, at + 1), gone = 'erased' }, KEEP * 1000)
end
redis.call('HSET', P .. 'forgotten', mailbox, now)
return #keys
