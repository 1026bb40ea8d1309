-- due says when the next job falls due or a lease runs out, in ms from now, -1
-- for never.
local first = -1
for _, key in ipairs({ 'due', 'leases' }) do
  local at = redis.call('ZRANGE', P .. key, 0, 0, 'WITHSCORES')[2]
  if at and (first < 0 or at - now < first) then first = math.max(0, at - now) end
end
return first
