-- beat registers a machine and says how the shard stands. A gate that stays
-- closed for too long is opened without the machines that are missing; one that
-- beats and has not told all yet is waited for longer.
-- A second process of the same machine is another machine with a copy of its
-- store: the store's lock lets no other be. The first stays out from then on.
-- ARGV: machine, owner, patience in ms, met (1: this owner has beaten before), ttl
-- of leases in ms, heard (1: this owner heard the answer to its last beat).
-- Answers: CLONE, or era, open, format, version of the erasures, full, then the
-- machines, those that are missing included: they are waited for again.
local machine, owner, patience, met, ttl, heard = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], ARGV[6]
if redis.call('EXISTS', P .. 'left:' .. owner) == 1 then return {} end -- a beat that comes after the leaving
evenFull()
local runs = redis.call('HGET', P .. 'owners', machine)
if runs and runs ~= owner and met == '1' then return 'CLONE' end
if runs ~= owner then
  redis.call('HSET', P .. 'owners', machine, owner)
  redis.call('SADD', P .. 'homes', machine)
end
local counts = heard == '1' and served(ttl)
redis.call('ZADD', P .. 'machines', now, machine)
redis.call('SETNX', P .. 'format', 1)
local m = memory()
local open = redis.call('GET', P .. 'gate') == m
if open then
  redis.call('ZREMRANGEBYSCORE', P .. 'machines', '-inf', now - 60000)
  redis.call('HDEL', P .. 'closed', 'for')
elseif redis.call('HGET', P .. 'closed', 'memory') ~= m or tonumber(redis.call('HGET', P .. 'closed', 'at')) > now then -- or a clock that was set back
  redis.call('DEL', P .. 'gate', P .. 'roll', P .. 'said')
  redis.call('HSET', P .. 'closed', 'memory', m, 'at', now, 'for', 0)
elseif counts and redis.call('HINCRBY', P .. 'closed', 'for', counts) >= patience and redis.call('SISMEMBER', P .. 'said', machine) == 1 then
  local missing, telling = redis.call('SDIFF', P .. 'roll', P .. 'said'), false
  for _, other in ipairs(missing) do
    telling = telling or tonumber(redis.call('ZSCORE', P .. 'machines', other) or 0) > now - patience / 2
  end
  if not telling or tonumber(redis.call('HGET', P .. 'closed', 'for')) >= 20 * patience then
    if #missing > 0 then
      redis.call('SADD', P .. 'missing', unpack(missing))
      redis.call('EXPIRE', P .. 'missing', KEEP)
    end
    redis.call('SET', P .. 'gate', m)
    open = true
  end
end
local met = redis.call('ZRANGE', P .. 'machines', 0, 999)
for _, away in ipairs(redis.call('SMEMBERS', P .. 'missing')) do
  met[#met + 1] = away
end
return {
  era(m), open and 1 or 0, tonumber(redis.call('GET', P .. 'format')), tonumber(redis.call('GET', P .. 'erasing') or 0),
  full() and 1 or 0, unpack(met),
}
