-- finish keeps what an attempt came to. Whoever no longer holds the lease is
-- refused, except with a delivery: that the note arrived is true whoever says
-- it, unless its service has taken that back.
-- ARGV: machine, owner, job, note, epoch, outcome, ms until the next attempt or
-- the end of waiting, receipt, event, step, round, arrived (1: as far as the
-- service tells), waits (for what), unknown (of a dead one: the bits of targets
-- where it may have arrived).
-- Answers: FENCED, GATE, or whether a job became due early, the job, and
-- whether a report has taken it elsewhere than the outcome does.
local machine, owner, id, note, epoch, outcome, wait, receipt, event, step, round, arrived, waits, unknown = unpack(ARGV)
local j = read(id)
local mine = j.state == 'sending' and j.owner == owner and j.epoch == epoch
local early, otherwise = false, false
local delivery = { note = note, epoch = epoch, receipt = receipt, step = step, round = round, arrived = arrived }

if outcome == 'done' and not (mine and refused(j, step)) then
  if not j.state then -- forgotten here: its home will publish it again
    become(j, 'delivered', delivery)
    redis.call('EXPIRE', P .. 'job:' .. id, KEEP)
  elseif refused(j, step) or tonumber(round) < tonumber(j.void or 0) then
    otherwise = true
  elseif j.state == 'sending' and not mine then
    set(j, { done = 1, at = step, receipt = receipt, arrived = arrived })
    tell(j, machine, 'done', event)
  elseif j.state ~= 'delivered' and j.state ~= 'erased' then
    set(j, { step = step, arrived = arrived, done = '', at = '' }) -- it counts more than what a report said of another target
    early = conclude(j, 'delivered')
    set(j, { receipt = receipt })
    tell(j, machine, 'done', event)
  end
  return { early and 1 or 0, standing(j), otherwise and 1 or 0 }
end

if not mine then return gate() and 'FENCED' or 'GATE' end
redis.call('ZREM', P .. 'leases', id) -- first: a server that is full runs what begins by freeing
local waited = outcome == 'waiting' and waits or outcome == 'dead' and j.waits -- for what
if j.done == '1' then
  if outcome == 'unknown' then set(j, { unknown = doubted(j) }) end -- for when its service takes that back
  early = conclude(j, 'delivered')
elseif refused(j, j.step) then
  early, otherwise = onward(j), outcome ~= 'dead'
elseif sentAgain(j, waited, j.asked == j.step, j.bounced == turn(j)) then
  become(j, 'queued', { owner = '', next = now, first = now, waits = waited + 1 })
  early, otherwise = apart(j), true
elseif outcome == 'retry' then
  requeue(j, { next = now + wait })
elseif outcome == 'unknown' then
  requeue(j, { next = now + wait, unknown = doubted(j) })
elseif outcome == 'waiting' then
  become(j, 'queued', { owner = '', next = now + wait, waits = waits })
  early = apart(j)
else
  set(j, { unknown = bit.bor(j.unknown, unknown) })
  early = onward(j)
end
if (j.asked or '') ~= '' then set(j, { asked = '' }) end
tell(j, machine, outcome, event)
return { early and 1 or 0, standing(j), otherwise and 1 or 0 }
