-- shown keeps that a machine has shown all its notes to what this server
-- remembers. ARGV: machine, era.
evenFull()
redis.call('HSET', P .. 'shown', ARGV[1], ARGV[2])
return 'OK'
