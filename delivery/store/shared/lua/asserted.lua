-- asserted says that a machine has told this server all it knows. The gate
-- opens when every machine that anyone knows has done so.
-- ARGV: machine, the era it told, then the machines it knows.
local machine, m = ARGV[1], memory()
if ARGV[2] ~= era(m) then return 'AGAIN' end
redis.call('SREM', P .. 'missing', machine)
if redis.call('GET', P .. 'gate') == m then return 'OPEN' end
local info = redis.call('INFO', 'memory')
if info:match('maxmemory:(%d+)') ~= '0' and info:match('maxmemory_policy:([%w-]+)') ~= 'noeviction' then return 'EVICTS' end
redis.call('SADD', P .. 'said', machine)
redis.call('SADD', P .. 'roll', unpack(ARGV, 3))
redis.call('SADD', P .. 'roll', machine, unpack(redis.call('ZRANGE', P .. 'machines', 0, 999)))
if #redis.call('SDIFF', P .. 'roll', P .. 'said') > 0 then return 'WAITING' end
redis.call('SET', P .. 'gate', m)
return 'OPEN'
