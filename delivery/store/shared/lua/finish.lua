-- finish keeps what an attempt came to. Whoever no longer holds the lease is
-- refused, except with a delivery: that the note arrived is true whoever says
-- it. ARGV: machine, owner, job, note, epoch, outcome, ms until the next
-- attempt, receipt, event.
-- Answers: FENCED, GATE, or whether a job became due early, and the job.
local machine, owner, id, note, epoch, outcome, wait, receipt, event = unpack(ARGV)
local j = read(id)
local mine = j.state == 'sending' and j.owner == owner and j.epoch == epoch
local early = false

if outcome == 'done' then
  if not j.state then -- forgotten here: its home will publish it again
    become(j, 'delivered', { note = note, epoch = epoch, receipt = receipt })
    redis.call('EXPIRE', P .. 'job:' .. id, KEEP)
  elseif j.state == 'sending' and not mine then
    set(j, { done = 1, receipt = receipt })
    tell(j, machine, 'done', event)
  elseif j.state ~= 'delivered' and j.state ~= 'erased' then
    early = conclude(j, 'delivered')
    set(j, { receipt = receipt })
    tell(j, machine, 'done', event)
  end
  return { early and 1 or 0, standing(j) }
end

if not mine then return gate() and 'FENCED' or 'GATE' end
redis.call('ZREM', P .. 'leases', id) -- first: a server that is full runs what begins by freeing
if j.done == '1' then
  early = conclude(j, 'delivered')
elseif outcome == 'retry' then
  requeue(j, { next = now + wait })
elseif outcome == 'unknown' then
  requeue(j, { next = now + wait, unknown = doubted(j) })
elseif tonumber(j.step) + 1 < tonumber(j.steps) then
  requeue(j, { next = now, step = j.step + 1, attempt = 0, first = 0 })
  early = true
else
  early = conclude(j, 'dead')
end
tell(j, machine, outcome, event)
return { early and 1 or 0, standing(j) }
