-- rebody replaces the body of a note that is here. ARGV: note, body.
-- Answers: 1 when it was, else 0.
local N = P .. 'note:' .. ARGV[1]
if redis.call('HEXISTS', N, 'body') == 0 then return 0 end
redis.call('HSET', N, 'body', ARGV[2])
return 1
