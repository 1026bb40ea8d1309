-- recollect lists what changed in what channels remember. ARGV: after which
-- change, how many at most. Answers: for each, oldest change first, its number,
-- key, value, mailbox, at, ms that are left (0 for good), gone.
lapse()
local list = {}
local page = redis.call('ZRANGEBYSCORE', P .. 'memories', '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #page, 2 do
  local e = recalled(page[i])
  if e then
    local left = e.over > 0 and e.over - now or 0
    list[#list + 1] = { page[i + 1], e.key, e.value, e.mailbox, string.format('%.0f', e.at), string.format('%.0f', left), e.gone }
  else
    list[#list + 1] = { page[i + 1] }
  end
end
return list
