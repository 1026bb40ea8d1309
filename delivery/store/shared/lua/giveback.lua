-- giveback undoes an attempt that was not made. ARGV: machine, owner, job,
-- epoch, ms until it may be claimed again (-1: when it was due before).
-- Answers: FENCED, GATE, or the job.
local machine, owner, id, epoch, wait = unpack(ARGV)
local j = read(id)
if j.state ~= 'sending' or j.owner ~= owner or j.epoch ~= epoch then return gate() and 'FENCED' or 'GATE' end
if j.done ~= '1' and refused(j, j.step) then
  onward(j)
  tell(j, machine, 'returned')
  return standing(j)
end
requeue(j, { attempt = j.attempt - (waiting(j) and 0 or 1), next = wait == '-1' and j.next or now + wait })
if j.bounced and not waiting(j) then set(j, { bounced = '' }) end -- it was of an earlier attempt
tell(j, machine, 'returned')
return standing(j)
