-- publish makes a note and its jobs known to every machine. Said twice, it
-- does nothing but answer how the jobs stand. A note of before its mailbox was
-- erased is taken when its home has erased as much and kept it: its call was
-- under way then.
-- ARGV: machine, owner, ttl in ms (0: no lease wanted), again (1: it was
-- published before), note, mailbox, body, sounds (1: it has audio), audio,
-- outlives (up to where its home has erased the mailbox, '' for never), then for
-- each job: id, thread, chain, steps, step, attempt, unknown, round, ms since the
-- first attempt (-1: none), ms until the next, the last epoch that its home
-- knows, waits, void (deliveries of earlier rounds do not count).
-- Answers: AUDIO when the audio must be sent along, ERASED when its home is yet to
-- erase the mailbox, else the jobs.
local machine, owner, ttl, again, note, mailbox, body, sounds, audio, outlives = unpack(ARGV, 1, 10)
local FIRST, FIELDS = 11, 13 -- of the jobs in ARGV
local N, A = P .. 'note:' .. note, P .. 'audio:' .. note
local answers = {}

local upto = redis.call('HGET', P .. 'erasures', mailbox)
if upto and note <= upto and outlives < upto then return 'ERASED' end
if redis.call('HEXISTS', N, 'erased') == 1 then
  for i = FIRST, #ARGV, FIELDS do
    answers[#answers + 1] = standing({ id = ARGV[i], note = note, state = 'erased' })
  end
  return answers
end

if sounds == '1' and audio == '' and redis.call('EXISTS', A) == 0 then return 'AUDIO' end
if audio ~= '' then redis.call('SET', A, audio, 'NX') end
if redis.call('EXISTS', N) == 1 then evenFull() end -- what is there already is told again
local ids = {}
for i = FIRST, #ARGV, FIELDS do
  ids[#ids + 1] = ARGV[i]
end
if redis.call('EXISTS', N) == 0 then
  redis.call('HSET', N, 'body', body, 'mailbox', mailbox, 'home', machine, 'jobs', table.concat(ids, ' '))
  redis.call('ZADD', P .. 'inbox:' .. mailbox, 0, note)
  redis.call('PUBLISH', P .. 'news', mailbox .. ' ' .. note)
else -- it may have been there to be seen only, or with fewer jobs
  local known = redis.call('HGET', N, 'jobs') or ''
  local jobs = known
  for _, id in ipairs(ids) do
    if not (' ' .. jobs .. ' '):find(' ' .. id .. ' ', 1, true) then jobs = jobs == '' and id or jobs .. ' ' .. id end
  end
  if jobs ~= known then redis.call('HSET', N, 'jobs', jobs) end
end
if note <= outlives then redis.call('HSET', N, 'outlives', outlives) end

local open = tonumber(ttl) > 0 and gate()
for i = FIRST, #ARGV, FIELDS do
  local id, thread, chain, steps, step, tried, unknown, round, age, wait, epoch, waits, void = unpack(ARGV, i, i + FIELDS - 1)
  local told = {
    step = step, attempt = tried, round = round, next = now + wait, first = age == '-1' and 0 or now - age,
    waits = waits,
  }
  local j = read(id)
  local takenBack = takeBack(j, void)
  if takenBack and tonumber(round) > tonumber(void) then afresh(j) end -- driven again since
  if not j.state then
    j.note, j.thread = note, thread
    become(j, 'queued', {
      note = note, thread = thread, chain = chain, steps = steps, pos = (i - FIRST) / FIELDS, home = machine, epoch = epoch,
      unknown = unknown, step = told.step, attempt = told.attempt, round = told.round, next = told.next,
      first = told.first, waits = waits, void = void, memory = again == '1' and '' or memory(),
    })
    join(j)
    if waits ~= '0' or takenBack then apart(j) end
  elseif j.state == 'queued' or (j.state == 'dead' and tonumber(round) > tonumber(j.round)) then
    told.unknown = bit.bor(j.unknown, unknown)
    told.void = math.max(tonumber(j.void or 0), tonumber(void))
    if j.state == 'dead' then afresh(j) end
    if j.state == 'dead' or later(told, j) then
      unschedule(j)
      become(j, 'queued', told)
    else
      set(j, { unknown = told.unknown, void = told.void })
    end
    join(j)
    if waiting(j) then apart(j) end
  end
  local leased = false
  if open and j.state == 'sending' and j.owner == owner and tonumber(j['until']) > now then
    set(j, { ['until'] = now + ttl })
    redis.call('ZADD', P .. 'leases', j['until'], id)
    leased = true
  elseif open and j.state == 'queued' and tonumber(j.next) <= now and redis.call('GET', P .. 'head:' .. j.thread) == id then
    attempt(j, owner, ttl, open)
    leased = true
  end
  answers[#answers + 1] = standing(j, leased)
end
return answers
