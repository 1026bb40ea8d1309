-- proclaim lets every other machine know of a report about a job that no shard
-- has: its home may have sent it without Redis. The list of a machine that never
-- comes back has its bounds.
-- ARGV: machine, job, what, event. Answers: how many machines were told.
local machine, id, what, event = unpack(ARGV)
evenFull()
local others, told = { [machine] = true }, 0
for _, known in ipairs({ redis.call('SMEMBERS', P .. 'homes'), redis.call('SMEMBERS', P .. 'roll') }) do
  for _, other in ipairs(known) do
    if not others[other] and redis.call('LLEN', P .. 'home:' .. other) < 10000 then
      redis.call('RPUSH', P .. 'home:' .. other, cjson.encode({ job = id, note = '', at = now, now = now, name = named(what), event = event }))
      told = told + 1
    end
    others[other] = true
  end
end
return told
