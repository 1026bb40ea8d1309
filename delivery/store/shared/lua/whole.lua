-- whole answers GATE while this server may lack notes of before it forgot some:
-- machines are yet to tell what they know, or one that beats to show its notes.
-- Who cannot, or is too old to say so, is waited for as long as it may take.
-- ARGV: machine, for how long, in ms.
local m = gate()
if not m then return 'GATE' end
if now - tonumber(redis.call('HGET', P .. 'closed', 'at') or 0) > tonumber(ARGV[2]) then return 'OK' end
for _, other in ipairs(redis.call('ZRANGE', P .. 'machines', now - 60000, '+inf', 'BYSCORE')) do
  if other ~= ARGV[1] and redis.call('HGET', P .. 'shown', other) ~= era(m) then return 'GATE' end
end
return 'OK'
