-- mark keeps that a note was read or played; the first time counts.
-- ARGV: machine, note, field, mailbox. Answers: NONE, 1 the first time, else 0.
local N = P .. 'note:' .. ARGV[2]
local at = redis.call('HMGET', N, 'mailbox', 'home')
if at[1] ~= ARGV[4] then return 'NONE' end
if redis.call('HSETNX', N, ARGV[3], now) == 0 then return 0 end
if at[2] ~= ARGV[1] then
  redis.call('RPUSH', P .. 'home:' .. at[2], cjson.encode({ note = ARGV[2], at = now, now = now, name = ARGV[3] }))
end
redis.call('PUBLISH', P .. 'news', at[1] .. ' ' .. ARGV[2])
return 1
