-- disown forgets all that channels remember of a mailbox, and what is told later
-- and was changed before or comes from one of its notes up to one. ARGV: mailbox,
-- last note. Answers: how much it was.
local mailbox, upto = ARGV[1], ARGV[2]
evenFull()
local keys = redis.call('SMEMBERS', P .. 'memories:' .. mailbox)
for _, key in ipairs(keys) do
  local at = tonumber(redis.call('HGET', P .. 'memory:' .. key, 'at'))
  record({ key = key, value = '', mailbox = '', at = math.max(now, at + 1), gone = 'erased' }, KEEP * 1000)
end
redis.call('HSET', P .. 'forgotten', mailbox, now)
if (redis.call('HGET', P .. 'forgotten', 'upto ' .. mailbox) or '') < upto then
  redis.call('HSET', P .. 'forgotten', 'upto ' .. mailbox, upto)
end
return #keys
