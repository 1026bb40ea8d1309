-- leave takes a machine that stops in order out of those that are waited for.
-- ARGV: machine.
redis.call('ZREM', P .. 'machines', ARGV[1])
redis.call('SREM', P .. 'roll', ARGV[1])
return 'OK'
