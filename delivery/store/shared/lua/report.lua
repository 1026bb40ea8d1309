-- report keeps what a chat service told of a job. Told again it does nothing,
-- but for what the job waits for anew.
-- ARGV: machine, job, note, home ('': not known), round (of the job when Redis
-- was told first, '' for now), step ('': not known), what, settles, arrived, event.
-- Answers: NONE, GATE, or whether a job became due early, and the job.
local machine, id, note, home, round, step, what, settles, arrived, event = unpack(ARGV)
local past = round ~= '' and tonumber(round) -- what was told of an earlier round
evenFull()
local j = read(id)
if j.state == 'erased' then return 'NONE' end
if not j.state then
  if home == '' then return gate() and 'NONE' or 'GATE' end
  if settles ~= '1' and not gate() then return 'GATE' end -- its home will publish it again
  j.note, j.home = note, home
  if settles == '1' then
    become(j, 'delivered', { note = note, home = home, round = past or 0, step = step ~= '' and step or 0, epoch = 0, arrived = arrived })
    redis.call('EXPIRE', P .. 'job:' .. id, KEEP)
  end
  tell(j, machine, named(what), event)
  if settles ~= '1' then return 'NONE' end
  return { 0, standing(j) }
end

if past and past < tonumber(j.round or 0) and anew[what] then return { 0, standing(j) } end

local first, early = true, false
if step ~= '' then
  first = not said(j, step, what)
  set(j, { ['said:' .. step .. ':' .. what] = 1 })
end
if what == 'accepted' and ((step ~= '' and refused(j, step)) or (past and past < tonumber(j.void or 0))) then settles = '0' end

if settles == '1' and j.state ~= 'delivered' then
  set(j, { at = step, done = 1, arrived = (arrived == '1' or j.arrived == '1') and 1 or 0 })
  if j.state ~= 'sending' then early = conclude(j, 'delivered') end -- else when its lease ends
elseif what == 'refused' and j.state == 'sending' and j.at == step and refused(j, step) then
  set(j, { at = '', done = '' }) -- that it was accepted settles nothing any more
elseif what == 'refused' and step == j.step and refused(j, step) then
  if j.state == 'queued' and (waiting(j) or inDoubt(j)) then early = onward(j) end -- what is delivered its home takes back
elseif (what == 'asked' or what == 'bounced') and step == j.step then
  if j.state == 'queued' and sentAgain(j, j.waits, what == 'asked', what == 'bounced') then
    set(j, { waits = j.waits + 1, next = now, first = now })
    schedule(j)
    first, early = true, true
  elseif j.state == 'sending' then
    set(j, what == 'asked' and { asked = step } or { bounced = turn(j) }) -- it follows when the lease ends
  end
end
if first then tell(j, machine, named(what), event) end
return { early and 1 or 0, standing(j) }
