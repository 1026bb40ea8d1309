-- leave takes a machine that stops in order out of those that are waited for,
-- unless the gate is closed and it may have something to tell. Beats of its
-- that are still on their way do not count any more.
-- ARGV: machine, owner.
redis.call('ZREM', P .. 'machines', ARGV[1])
if redis.call('HGET', P .. 'owners', ARGV[1]) == ARGV[2] then redis.call('HDEL', P .. 'owners', ARGV[1]) end
redis.call('SET', P .. 'left:' .. ARGV[2], 1, 'EX', 60)
return 'OK'
