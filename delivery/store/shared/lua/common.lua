-- What every script begins with.
--
-- KEYS[1] is the shard's prefix. Each key that a script touches begins with
-- it, so that all of them lie in one slot. Times are the server's own, in
-- milliseconds since 1970; 0 is never. They do not go back: a clock that was set
-- back, or that of a replica which was behind, is ahead of itself from then on.

local P = KEYS[1]
local clock = redis.call('TIME')
local kept = redis.call('MGET', P .. 'served', P .. 'ahead', P .. 'unserved')
local last, ahead, unserved = tonumber(kept[1] or 0), tonumber(kept[2] or 0), tonumber(kept[3] or 0)
local now = clock[1] * 1000 + math.floor(clock[2] / 1000) + ahead
if now < last then
  ahead = ahead + last - now
  now = last
end
local away = last > 0 and math.max(now - last - 2000, 0) or 0 -- nobody was served for so long, see served
unserved = unserved + away -- in all

local KEEP = 864000 -- how long the tombstone of a job lives, in seconds
local counted = { queued = true, sending = true, dead = true }

-- memory names what this server remembers: another process, another history,
-- or another node of a cluster has another name.
local function memory()
  local info = redis.call('INFO', 'server', 'replication')
  return info:match('run_id:(%w+)'):sub(1, 12) .. info:match('master_replid:(%w+)'):sub(1, 12)
end

-- full says that the server refuses what needs room.
local function full()
  local info = redis.call('INFO', 'memory')
  local most = tonumber(info:match('maxmemory:(%d+)'))
  return most > 0 and tonumber(info:match('used_memory:(%d+)')) >= most
end

-- evenFull lets a script go on that a full server would refuse: it runs one
-- that begins with a write which needs no room.
local function evenFull()
  redis.call('ZREM', P .. 'machines', '')
end

-- record keeps an entry of what channels remember, or that it is gone, and has
-- the machines see that it changed. Its first write needs room. ttl is in ms, 0
-- for good.
local function record(e, ttl)
  e.seq = redis.call('INCR', P .. 'remembered')
  local M, mailbox = P .. 'memory:' .. e.key, redis.call('HGET', P .. 'memory:' .. e.key, 'mailbox')
  if mailbox then redis.call('SREM', P .. 'memories:' .. mailbox, e.key) end
  local over = ttl > 0 and now + ttl or 0
  redis.call('HSET', M, 'value', e.value, 'mailbox', e.mailbox, 'at', e.at, 'gone', e.gone, 'until', over)
  redis.call('ZADD', P .. 'memories', e.seq, e.key)
  if e.mailbox ~= '' then redis.call('SADD', P .. 'memories:' .. e.mailbox, e.key) end
  if over > 0 then
    redis.call('ZADD', P .. 'lapse', over, e.key)
  else
    redis.call('ZREM', P .. 'lapse', e.key)
  end
end

-- unrecord drops an entry without a trace.
local function unrecord(key)
  local mailbox = redis.call('HGET', P .. 'memory:' .. key, 'mailbox')
  if mailbox then redis.call('SREM', P .. 'memories:' .. mailbox, key) end
  redis.call('DEL', P .. 'memory:' .. key)
  redis.call('ZREM', P .. 'memories', key)
  redis.call('ZREM', P .. 'lapse', key)
end

-- lapse drops some entries whose time is over.
local function lapse()
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', P .. 'lapse', '-inf', now, 'LIMIT', 0, 100)) do
    unrecord(key)
  end
end

-- recalled is an entry, nil when there is none or its time is over.
local function recalled(key)
  local e = redis.call('HMGET', P .. 'memory:' .. key, 'value', 'mailbox', 'at', 'gone', 'until')
  local over = tonumber(e[5] or 0)
  if not e[3] or (over > 0 and over <= now) then return nil end
  return { key = key, value = e[1], mailbox = e[2], at = tonumber(e[3]), gone = e[4], over = over }
end

-- An era is what is remembered since the gate was last found closed: a flush
-- begins another one in the same memory.
local function era(m)
  return m .. '@' .. (redis.call('HGET', P .. 'closed', 'at') or '')
end

-- gate returns the server's memory when leases may be given out from it.
local function gate()
  local m = memory()
  return redis.call('GET', P .. 'gate') == m and m
end

-- read returns a job as a table of strings; state is nil when it is unknown.
local function read(id)
  local j, flat = {}, redis.call('HGETALL', P .. 'job:' .. id)
  for i = 1, #flat, 2 do
    j[flat[i]] = flat[i + 1]
  end
  j.id = id
  return j
end

-- set changes fields of a job, in the table and in its hash. Beside when it is due
-- stands for how long nobody had been served when that was said, see hesitate.
local function set(j, fields)
  local flat = {}
  if fields.next then fields.unserved = fields.next .. ':' .. unserved end
  for name, value in pairs(fields) do
    j[name] = tostring(value)
    flat[#flat + 1] = name
    flat[#flat + 1] = j[name]
  end
  redis.call('HSET', P .. 'job:' .. j.id, unpack(flat))
end

-- become moves a job to a state and changes further fields with it.
local function become(j, state, fields)
  if counted[j.state] then redis.call('HINCRBY', P .. 'depth', j.state, -1) end
  if counted[state] then redis.call('HINCRBY', P .. 'depth', state, 1) end
  fields.state = state
  set(j, fields)
end

-- doubted is a job's unknown bits with that of its present step.
local function doubted(j)
  return bit.bor(j.unknown, bit.lshift(1, j.step))
end

-- inDoubt says that an attempt at a job's present step may have arrived.
local function inDoubt(j)
  return bit.band(j.unknown or 0, bit.lshift(1, j.step)) ~= 0
end

-- waiting says that a job waits to be asked for (waits = 1) or for a report (3):
-- leased then, its next target's turn has come, and nothing is sent.
local function waiting(j)
  return j.waits == '1' or j.waits == '3'
end

-- later says whether a has come further than b. A job waits after its attempt,
-- and is asked for (waits = 2) or comes back (2 or 4) after that.
local function later(a, b)
  for _, field in ipairs({ 'round', 'step', 'attempt', 'waits' }) do
    local x, y = tonumber(a[field] or 0), tonumber(b[field] or 0)
    if x ~= y then return x > y end
  end
  return false
end

-- place is where a job stands in its thread: by note, then by its position
-- among the note's jobs.
local function place(j)
  return j.note .. ':' .. string.format('%02d', j.pos) .. ':' .. j.id
end

-- schedule lets the head of a thread be claimed when its time comes.
local function schedule(j)
  redis.call('ZADD', P .. 'due', j.next, j.id)
  if j.attempt == '0' then redis.call('ZADD', P .. 'fresh', j.next, j.id) end
end

local function unschedule(j)
  redis.call('ZREM', P .. 'due', j.id)
  redis.call('ZREM', P .. 'fresh', j.id)
end

-- lead makes a job the head of its thread, unless the head is being sent. A
-- head that has to give way waits behind.
local function lead(j)
  local head = redis.call('GET', P .. 'head:' .. j.thread)
  if head and head ~= j.id then
    local h = read(head)
    if h.state == 'sending' then return false end
    if h.state == 'queued' then
      unschedule(h)
      redis.call('ZADD', P .. 'thread:' .. j.thread, 0, place(h))
    end
  end
  redis.call('ZREM', P .. 'thread:' .. j.thread, place(j))
  redis.call('SET', P .. 'head:' .. j.thread, j.id)
  return true
end

-- join puts a queued job into its thread. It leads when it is alone there, or
-- older than a head that was never tried: notes of several machines arrive
-- here in any order.
local function join(j)
  local head = redis.call('GET', P .. 'head:' .. j.thread)
  local h = head and head ~= j.id and read(head)
  if h and counted[h.state] and not (h.attempt == '0' and place(j) < place(h) and lead(j)) then
    redis.call('ZADD', P .. 'thread:' .. j.thread, 0, place(j))
    return
  end
  lead(j)
  schedule(j)
end

-- leave takes a job out of its thread and lets the next one lead. True when
-- there is one.
local function leave(j)
  redis.call('ZREM', P .. 'thread:' .. j.thread, place(j))
  if redis.call('GET', P .. 'head:' .. j.thread) ~= j.id then return false end
  local first = redis.call('ZPOPMIN', P .. 'thread:' .. j.thread)[1]
  if not first then
    redis.call('DEL', P .. 'head:' .. j.thread)
    return false
  end
  local nextone = read(first:match('[^:]*$'))
  redis.call('SET', P .. 'head:' .. j.thread, nextone.id)
  schedule(nextone)
  return true
end

-- apart gives a queued job a thread of its own: nothing waits behind it any
-- more. True when another job of its old thread became due.
local function apart(j)
  local own = 'apart-' .. j.id
  local early = false
  if j.thread ~= own then
    unschedule(j)
    early = leave(j)
    set(j, { thread = own })
    redis.call('SET', P .. 'head:' .. own, j.id)
  end
  schedule(j)
  return early
end

-- said says whether a service told something of a target of the job.
local function said(j, step, what)
  return j['said:' .. step .. ':' .. what] == '1'
end

-- reached says that the note reached its recipient by a target.
local function reached(j, step)
  return said(j, step, 'delivered') or said(j, step, 'read') or said(j, step, 'played')
end

-- refused says that a target's service could not deliver what it had accepted:
-- what reached the recipient it cannot refuse.
local function refused(j, step)
  return said(j, step, 'refused') and not reached(j, step)
end

-- turn names a job's present attempt, and the waiting after it.
local function turn(j)
  return (j.round or 0) .. ':' .. j.step .. ':' .. j.attempt
end

-- sentAgain says that a job which waits so is to be sent again: it was asked
-- for, or came back.
local function sentAgain(j, waits, asked, bounced)
  return (asked and waits == '1') or (bounced and (waits == '1' or waits == '3') and not reached(j, j.step))
end

-- named is what a message calls a report. Older machines know of no note that
-- came back; that it is asked for does them no harm, and the event says which.
local function named(what)
  return what == 'bounced' and 'asked' or what
end

-- anew is what counts no more when a job is driven again.
local anew = { refused = true, asked = true, bounced = true }

-- afresh has a job that is driven again be refused, asked for and come back anew.
local function afresh(j)
  for field in pairs(j) do
    if anew[field:match('^said:%d+:(%a+)$')] then
      j[field] = nil
      redis.call('HDEL', P .. 'job:' .. j.id, field)
    end
  end
end

-- takeBack makes of a tombstone a job of which nothing is known but what was
-- said, when its home says that no delivery before the round void counts: its
-- service refused the note after all. True when so.
local function takeBack(j, void)
  if j.state ~= 'delivered' or tonumber(void) <= tonumber(j.round or 0) then return false end
  redis.call('PERSIST', P .. 'job:' .. j.id)
  redis.call('HDEL', P .. 'job:' .. j.id, 'state')
  j.state = nil
  set(j, { ['said:' .. (j.step or 0) .. ':refused'] = 1, arrived = 0, void = void })
  return true
end

-- conclude ends a job: delivered, dead or erased. A dead one stays whole, to
-- be driven again; of the others a tombstone remains. True when another job
-- of the thread became due.
local function conclude(j, state)
  redis.call('ZREM', P .. 'leases', j.id)
  unschedule(j)
  local early = j.thread and leave(j) or false
  local at = state == 'delivered' and j.done == '1' and (j.at or '') ~= '' and j.at or j.step or 0
  become(j, state, { owner = '', done = '', waits = 0, step = at })
  if state ~= 'dead' then
    redis.call('HDEL', P .. 'job:' .. j.id, 'chain', 'thread', 'done', 'owner', 'at', 'unserved')
    j.chain, j.thread = nil, nil
    redis.call('EXPIRE', P .. 'job:' .. j.id, KEEP)
  end
  return early
end

-- requeue ends a lease without ending its job. A job that was delivered
-- elsewhere meanwhile ends here.
local function requeue(j, fields)
  redis.call('ZREM', P .. 'leases', j.id)
  if j.done == '1' then
    conclude(j, 'delivered')
    return
  end
  fields.owner = ''
  become(j, 'queued', fields)
  if redis.call('GET', P .. 'head:' .. j.thread) == j.id then
    schedule(j)
  else
    join(j)
  end
end

-- onward gives a job's next target its turn, or ends the job as dead. True when
-- this job or another one became due.
local function onward(j)
  if tonumber(j.step) + 1 < tonumber(j.steps) then
    requeue(j, { next = now, step = j.step + 1, attempt = 0, first = 0, waits = 0 })
    return true
  end
  redis.call('ZREM', P .. 'leases', j.id)
  return conclude(j, 'dead')
end

-- attempt leases a queued head. One whose waiting is over is leased for its next
-- target's turn: nothing is sent. What this server may have forgotten of a job
-- from before had lower epochs than its next one: who still holds such a lease
-- cannot end another with it. While a machine is missing whose last results are
-- among that, the job may be a repeat.
local function attempt(j, owner, ttl, remembered)
  unschedule(j)
  local epoch = j.epoch + 1
  local waited = waiting(j)
  if j.memory ~= remembered then
    epoch = math.max(epoch, now)
    if not waited and redis.call('EXISTS', P .. 'missing') == 1 then set(j, { unknown = doubted(j) }) end
  end
  become(j, 'sending', {
    owner = owner, epoch = epoch, attempt = j.attempt + (waited and 0 or 1), waits = waited and j.waits or 0, memory = remembered,
    first = j.first == '0' and now or j.first, ['until'] = now + ttl,
  })
  redis.call('ZADD', P .. 'leases', j['until'], j.id)
end

-- served keeps that a machine is served, and has the time before not count in
-- which none was: nobody could renew a lease then, beat, or tell what it knows.
-- Machines beat each second: two seconds without one count at most. By the rest
-- leases end later, though they last no longer than ttl, and machines have beaten
-- later; and for as long as a lease lasts those who are back can tell what they
-- know. To be called once. Returns the ms that count.
local function served(ttl)
  local counts = last > 0 and now - last - away or 0
  evenFull()
  redis.call('MSET', P .. 'served', now, P .. 'ahead', ahead, P .. 'unserved', unserved)
  if away == 0 then return counts end
  redis.call('SET', P .. 'back', 1, 'PX', ttl)
  local leases = redis.call('ZRANGE', P .. 'leases', 0, -1, 'WITHSCORES')
  for i = 1, #leases, 2 do
    local over = math.min(leases[i + 1] + away, now + ttl)
    if over > tonumber(leases[i + 1]) then
      redis.call('ZADD', P .. 'leases', over, leases[i])
      redis.call('HSET', P .. 'job:' .. leases[i], 'until', over)
    end
  end
  local machines = redis.call('ZRANGE', P .. 'machines', 0, -1, 'WITHSCORES')
  for i = 1, #machines, 2 do
    redis.call('ZADD', P .. 'machines', math.min(machines[i + 1] + away, now), machines[i])
  end
  return counts
end

-- hesitate puts a job off that a report would end or move on: by the time in which
-- nobody was served since its wait began, as no report was heard then; and once
-- where nobody was until a moment ago: whoever heard the report could not tell it.
-- Of a wait that an older machine set it is not known when it began. True when so.
local function hesitate(j, ttl)
  if not (waiting(j) or inDoubt(j)) then return false end
  local due, before = (j.unserved or ''):match('^(.+):(%d+)$')
  local over = j.next + (due == j.next and unserved - before or 0)
  if over <= now then
    local at = j.step .. ':' .. j.attempt .. ':' .. (j.waits or 0)
    if j.late == at or redis.call('EXISTS', P .. 'back') == 0 then return false end
    set(j, { late = at })
    over = now + ttl
  end
  set(j, { next = over })
  schedule(j)
  return true
end

-- tell lets a job's home know of a change that another machine made.
local function tell(j, by, name, event)
  if (j.home or '') == '' or j.home == by then return end
  redis.call('RPUSH', P .. 'home:' .. j.home, cjson.encode({
    job = j.id, note = j.note, state = j.state, epoch = tonumber(j.epoch), round = tonumber(j.round),
    step = tonumber(j.step), attempt = tonumber(j.attempt), unknown = tonumber(j.unknown),
    next = tonumber(j.next), first = tonumber(j.first), waits = tonumber(j.waits or 0), arrived = j.arrived == '1',
    at = now, now = now, name = name, event = event,
  }))
end

-- standing is a job as an answer carries it.
local function standing(j, leased)
  return {
    j.id, j.note or '', j.state, j.step or '0', j.attempt or '0', j.unknown or '0', j.next or '0', j.first or '0',
    j.epoch or '0', j.round or '0', j.home or '', j.thread or '', j.pos or '0', j.steps or '0', j.chain or '',
    leased and '1' or '0', j.waits or '0', j.void or '0', j.arrived or '0', tostring(now),
  }
end
