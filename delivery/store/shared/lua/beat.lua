-- beat registers a machine and says how the shard stands. A gate that stays
-- closed for too long is opened without the machines that are missing.
-- ARGV: machine, owner, patience in ms.
-- Answers: era, open, format, version of the erasures, then the machines, those
-- that are missing included: they are waited for again.
local machine, owner, patience = ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('EXISTS', P .. 'left:' .. owner) == 1 then return {} end -- a beat that comes after the leaving
redis.call('ZREM', P .. 'machines', machine) -- a script that begins by freeing is run on a full server as well
redis.call('ZADD', P .. 'machines', now, machine)
redis.call('SETNX', P .. 'format', 1)
local m = memory()
local open = redis.call('GET', P .. 'gate') == m
if open then
  redis.call('ZREMRANGEBYSCORE', P .. 'machines', '-inf', now - 60000)
elseif redis.call('HGET', P .. 'closed', 'memory') ~= m or tonumber(redis.call('HGET', P .. 'closed', 'at')) > now then -- or a clock that was set back
  redis.call('DEL', P .. 'gate', P .. 'roll', P .. 'said')
  redis.call('HSET', P .. 'closed', 'memory', m, 'at', now)
elseif now - redis.call('HGET', P .. 'closed', 'at') >= patience and redis.call('SISMEMBER', P .. 'said', machine) == 1 then
  local missing = redis.call('SDIFF', P .. 'roll', P .. 'said')
  if #missing > 0 then
    redis.call('SADD', P .. 'missing', unpack(missing))
    redis.call('EXPIRE', P .. 'missing', KEEP)
  end
  redis.call('SET', P .. 'gate', m)
  open = true
end
local met = redis.call('ZRANGE', P .. 'machines', 0, 999)
for _, away in ipairs(redis.call('SMEMBERS', P .. 'missing')) do
  met[#met + 1] = away
end
return {
  era(m), open and 1 or 0, tonumber(redis.call('GET', P .. 'format')), tonumber(redis.call('GET', P .. 'erasing') or 0),
  unpack(met),
}
