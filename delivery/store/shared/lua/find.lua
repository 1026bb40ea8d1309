-- find says how a job stands. ARGV: job. Answers: NONE, or the job.
local j = read(ARGV[1])
return j.state and standing(j) or 'NONE'
