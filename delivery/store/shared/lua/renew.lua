-- renew makes leases last longer. ARGV: owner, ttl in ms, then id and epoch of
-- each lease. Answers: 1 or 0 for each.
evenFull()
local answers = {}
for i = 3, #ARGV, 2 do
  local at = redis.call('HMGET', P .. 'job:' .. ARGV[i], 'state', 'owner', 'epoch')
  local held = at[1] == 'sending' and at[2] == ARGV[1] and at[3] == ARGV[i + 1]
  if held then
    redis.call('ZADD', P .. 'leases', 'XX', now + ARGV[2], ARGV[i])
    redis.call('HSET', P .. 'job:' .. ARGV[i], 'until', now + ARGV[2])
  end
  answers[#answers + 1] = held and 1 or 0
end
return answers
