-- claim leases jobs whose time has come: by turns the newest that was never
-- tried and the one that has been due for longest. Leases that ran out are
-- taken back before, but not where who holds them could not renew them: behind
-- a closed gate, and after nobody was served. What became of their attempts
-- nobody knows.
-- ARGV: machine, owner, limit, ttl in ms, lost (1: an earlier answer to this
-- owner was lost, and the leases in it are given again), turn (1: the newest
-- goes first, 2: the oldest).
-- Answers: GATE, or for each lease the job and its note's body.
local machine, owner, limit, ttl, lost, turn = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5], tonumber(ARGV[6])
local function due() return redis.call('ZCOUNT', P .. 'due', '-inf', now) > 0 end
local function over() return redis.call('ZRANGE', P .. 'leases', '-inf', now, 'BYSCORE', 'LIMIT', 0, 100) end
if lost == '0' and not due() and #over() == 0 then return {} end
local open = gate()
if open then served(ttl) end
for _, id in ipairs(open and over() or {}) do
  local j = read(id)
  local waited = waiting(j) -- nothing was sent
  if j.done ~= '1' and refused(j, j.step) then
    onward(j)
  else
    requeue(j, { unknown = waited and j.unknown or doubted(j), next = now })
  end
  tell(j, '', j.state == 'delivered' and 'done' or waited and 'returned' or 'unknown')
end

local answers = {}
local function give(j)
  local body = redis.call('HGET', P .. 'note:' .. j.note, 'body')
  answers[#answers + 1] = { standing(j, true), body or '' }
end

if lost == '1' and open then
  for _, id in ipairs(redis.call('ZRANGE', P .. 'leases', 0, -1)) do
    local j = read(id)
    if j.owner == owner then
      set(j, { ['until'] = now + ttl })
      redis.call('ZADD', P .. 'leases', j['until'], id)
      give(j)
    end
  end
end

if not due() then return answers end
if not open then return 'GATE' end

local turns = {
  redis.call('ZRANGE', P .. 'fresh', now, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, limit),
  redis.call('ZRANGE', P .. 'due', '-inf', now, 'BYSCORE', 'LIMIT', 0, limit),
}
local at, taken, given = { 1, 1 }, {}, 0
while given < limit and (turns[1][at[1]] or turns[2][at[2]]) do
  if not turns[turn][at[turn]] then turn = 3 - turn end
  local id = turns[turn][at[turn]]
  at[turn] = at[turn] + 1
  if not taken[id] then
    taken[id] = true
    turn = 3 - turn
    local j = read(id)
    if redis.call('HEXISTS', P .. 'note:' .. (j.note or ''), 'body') == 0 then
      unschedule(j) -- until its home publishes the note again
    elseif not hesitate(j, ttl) then
      attempt(j, owner, ttl, open)
      tell(j, machine, 'sending')
      give(j)
      given = given + 1
    end
  end
end
return answers
