-- forget takes what is remembered under a key: of many takers one gets it.
-- ARGV: key, at: it is forgotten after that. Answers: when it was forgotten and
-- its value; nothing when there is none.
local key, at = ARGV[1], tonumber(ARGV[2])
local was = recalled(key)
if not was or was.gone ~= '' then return {} end
evenFull()
local gone = { key = key, value = '', mailbox = '', at = math.max(now, at + 1, was.at + 1), gone = 'taken' }
record(gone, KEEP * 1000)
lapse()
return { gone.at, was.value }
