-- erase forgets a mailbox's notes up to one, also those that are published
-- later, but for those that outlived this erasure: their calls were under way. Of
-- the jobs tombstones remain. ARGV: machine, mailbox, last note, limit. Answers
-- how many notes are gone: fewer than limit when it is done.
local machine, mailbox, upto, limit = unpack(ARGV)
local inbox = P .. 'inbox:' .. mailbox
local gone, stay = 0, 0

local function erase(note)
  local N = P .. 'note:' .. note
  local at = redis.call('HMGET', N, 'jobs', 'home')
  redis.call('ZREM', inbox, note)
  redis.call('DEL', N, P .. 'audio:' .. note)
  redis.call('HSET', N, 'erased', 1)
  redis.call('EXPIRE', N, KEEP)
  for id in (at[1] or ''):gmatch('%S+') do
    local j = read(id)
    if counted[j.state] then conclude(j, 'erased') end
    if j.state then redis.call('HDEL', P .. 'job:' .. id, 'receipt') end
  end
  if at[2] and at[2] ~= machine then
    redis.call('RPUSH', P .. 'home:' .. at[2], cjson.encode({ note = note, at = now, now = now, name = 'erased' }))
  end
end

repeat
  local notes = redis.call('ZRANGE', inbox, '-', '[' .. upto, 'BYLEX', 'LIMIT', stay, limit - gone)
  for _, note in ipairs(notes) do
    if (redis.call('HGET', P .. 'note:' .. note, 'outlives') or '') >= upto then
      stay = stay + 1
    else
      erase(note)
      gone = gone + 1
    end
  end
until #notes == 0 or gone == tonumber(limit)
if (redis.call('HGET', P .. 'erasures', mailbox) or '') < upto then
  redis.call('HSET', P .. 'erasures', mailbox, upto)
  redis.call('INCR', P .. 'erasing')
end
return gone
