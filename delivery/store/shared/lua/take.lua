-- take grants sends of a channel at a rate (GCRA, a second's worth at once).
-- ARGV: channel, rate per second, how many are wanted.
-- Answers: how many are granted, ms until the next one.
local key, rate, wanted = P .. 'limit:' .. ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local us = clock[1] * 1000000 + clock[2]
local each = 1000000 / rate
local full = math.max(1, rate) * each
local free = tonumber(redis.call('GET', key) or 0) -- when all that was granted is paid for
free = math.max(us, math.min(free, us + full)) -- never later than that, unless the clock was set back
local granted = math.max(0, math.min(wanted, math.floor((us + full - free) / each + 1e-6)))
if granted > 0 then
  free = free + granted * each
  redis.call('SET', key, string.format('%.0f', free), 'PX', math.ceil((free - us) / 1000) + 1000)
end
return { granted, math.max(0, math.ceil((free + each - us - full) / 1000)) }
