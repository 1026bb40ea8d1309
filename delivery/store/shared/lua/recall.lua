-- recall takes in what a machine knows of a job, for a server that may have
-- forgotten it. ARGV: machine, owner, ttl in ms, kind, then the job: id, note,
-- thread, chain, steps, step, attempt, unknown, round, ms since the first
-- attempt (-1: none), ms until the next, epoch, pos, home, waits, void
-- (deliveries of earlier rounds do not count).
-- Kinds: delivered, dead; waiting (for a report); sending (this owner is at it);
-- interrupted (an earlier process of this machine was).
-- Answers: the job, leased when the lease stands.
local machine, owner, ttl, kind = unpack(ARGV, 1, 4)
local id, note, thread, chain, steps, step, tried, unknown, round, age, wait, epoch, pos, home, waits, void = unpack(ARGV, 5)
evenFull()
local told = { step = step, attempt = tried, round = round, waits = kind == 'dead' and 4 or waits }
local j = read(id)
takeBack(j, void)

if not j.state then
  j.note, j.thread, j.pos = note, thread, pos
  set(j, {
    note = note, thread = thread, chain = chain, steps = steps, step = step, attempt = tried, unknown = unknown,
    round = round, epoch = epoch, pos = pos, home = home, void = void, next = now + wait, memory = '',
    first = age == '-1' and 0 or now - age,
  })
elseif not counted[j.state] or (kind == 'delivered' and tonumber(round) < tonumber(j.void or 0)) then
  return standing(j)
elseif tonumber(void) > tonumber(j.void or 0) then
  set(j, { void = void })
end

if kind == 'delivered' then
  set(j, { done = 1, at = step }) -- j may not have come so far here
  if j.state ~= 'sending' or j.owner == owner then
    conclude(j, 'delivered')
    tell(j, machine, 'done')
  end
elseif kind == 'dead' then
  if not j.state or (j.state == 'queued' and not later(j, told)) then
    set(j, { unknown = bit.bor(j.unknown, unknown) })
    conclude(j, 'dead')
    tell(j, machine, 'dead')
  end
elseif kind == 'waiting' then
  if not j.state or (j.state == 'queued' and later(told, j)) then
    unschedule(j)
    become(j, 'queued', { step = step, attempt = tried, round = round, next = now + wait, waits = waits })
    apart(j)
  end
elseif kind == 'sending' then
  -- A lease that has ended here, or that a later one has followed, stays so: it
  -- ended while it was being told. One that is not remembered is made anew.
  local held = j.state == 'sending' and j.owner == owner and j.epoch == epoch
  local forgotten = not j.state or tonumber(epoch) > tonumber(j.epoch) or (epoch == j.epoch and j.memory == '')
  if not held and not forgotten then return standing(j) end
  unschedule(j)
  if not lead(j) then redis.call('ZREM', P .. 'thread:' .. thread, place(j)) end
  become(j, 'sending', {
    owner = owner, epoch = epoch, step = step, attempt = tried, waits = waits, memory = held and j.memory or 'told',
    unknown = bit.bor(j.unknown, unknown), first = j.first == '0' and now or j.first, ['until'] = now + ttl,
  })
  redis.call('ZADD', P .. 'leases', j['until'], id)
  return standing(j, true)
elseif kind == 'interrupted' then
  if j.state == 'sending' and j.epoch == epoch and j.owner:match('^[^/]*') == machine then
    requeue(j, { unknown = doubted(j), next = now })
  elseif not j.state or j.state == 'queued' then
    become(j, 'queued', { unknown = bit.bor(j.unknown, bit.lshift(1, step)) })
    join(j)
  end
end
return standing(j)
