-- remember keeps what a channel remembers. ARGV: how, key, value, mailbox, at,
-- ttl in ms (0 for good), gone ('' for no), the note which it comes from.
--   put   keeps it; it was changed now, and after at
--   add   does the same unless there is something under the key
--   tell  keeps what was changed at that time, unless it was changed since, or
--         its mailbox was forgotten
-- Answers: when what stands was changed, and 1 if it is this; 0 and 0 for what
-- comes from a note that was erased: it is not kept.
local how, key, value, mailbox, at, ttl, gone, note = unpack(ARGV)
if note ~= '' and (redis.call('HGET', P .. 'forgotten', 'upto ' .. mailbox) or '') >= note then return { 0, 0 } end
local e = { key = key, value = value, mailbox = mailbox, at = tonumber(at), gone = gone }
ttl = tonumber(ttl)
local was = recalled(key)
if how == 'add' and was and was.gone == '' then return { was.at, 0 } end
if how == 'tell' then
  if was and was.at >= e.at then return { was.at, 0 } end
  if tonumber(redis.call('HGET', P .. 'forgotten', mailbox) or 0) >= e.at then
    e.value, e.mailbox, e.gone, ttl = '', '', 'erased', KEEP * 1000
  end
else
  e.at = math.max(now, e.at + 1, was and was.at + 1 or 0)
end
record(e, ttl)
lapse()
return { e.at, 1 }
