// Package shared keeps in Redis what many machines must share: the schedule of
// jobs, leases with fencing, note bodies and audio for as long as their home
// keeps them, inbox threads, links, what channels remember and rate limits.
// Bodies, chains, events, memories and audio are opaque bytes, sealed by the
// caller. All of it can be built again from the machines: the one that took a
// call, the note's home, keeps the truth on its disk.
//
// # Keys
//
// Each key begins with afterbeep:{SS}:, SS being one of 16 shards: a shard is
// one slot of a Cluster, and a script touches one shard. A mailbox's index
// chooses the shard, a link's token hash, a limit's channel and a memory's key
// choose theirs.
//
//	format                   1; a program that finds a higher one stays away
//	gate closed              the memory that leases are given from; when it was found to differ, and the ms in which machines were served since
//	machines roll said missing   who beats; who must assert, who has, who never did
//	owners homes             the process of each machine: another one is a copy of its store; all machines that ever beat
//	left:OWNER               a process that stopped in order: its late beats do not count
//	job:ID                   hash of a job with what was said of it (said:STEP:WHAT), or its tombstone for 10 days
//	note:ID audio:ID         hash of a note (body, mailbox, home, jobs, read, played, the erasure that it outlives), its audio
//	served back              when a machine was last served that had heard the answer before; that none was, until a moment ago
//	unserved                 for how many ms in all none was
//	ahead                    how many ms times are ahead of the server's clock, which was set back
//	due fresh leases         sorted sets: heads of threads by their time, those never tried, leases by their end
//	head:THREAD thread:THREAD    the one job of a thread that may be sent, and those behind it
//	inbox:MAILBOX            the notes of a mailbox, by id
//	shown                    the era in which each machine last showed all its notes
//	erasures erasing applied the last note erased of each mailbox, how often that changed, and which machine took how much of it in
//	home:MACHINE             what other machines changed of a machine's notes
//	depth                    jobs by state
//	link:MAILBOX owner:HASH setting:NAME limit:CHANNEL news
//	memory:KEY               hash of what a channel remembers, or forgot within 10 days (memory.go)
//	memories remembered      keys by the number of their last change, and how many changes there were
//	memories:MAILBOX lapse   the keys of a mailbox; keys by when their time is over
//	forgotten                when all that was remembered of a mailbox was erased, and up to which note
//
// # The gate
//
// A server that was restarted, flushed, restored or promoted may have
// forgotten leases and results. Its memory has a name: run_id and
// master_replid. A script gives out a lease only when the gate holds that very
// name, computed within the script, so the gate closes by itself in the moment
// anything may be forgotten. Then every machine tells what it knows (Ledger)
// and signs; when all have signed that any of them has met, the gate opens. A
// machine that stays away for 30 s is missing; one that beats and is still
// telling is waited for longer. The gate opens without a missing machine, and
// until it comes back, a job from before that is given out as a possible
// repeat, and it is waited for again whenever the gate closes. A machine that
// nobody knew counts from the others' next beat, within a second.
//
// A lease's epoch is above all that may have been forgotten of its job: what is
// said late with a forgotten lease ends none that followed it. Each lease is
// handed out once, whatever answers are lost or come twice.
//
// Time in which no machine is served, but for the first two seconds, counts
// neither to leases nor to the 30 s, nor as time in which a machine did not beat:
// who holds a lease could not renew it, nor say that its note arrived. Jobs fall
// due in that time, but for those that a report may end: they wait on for as long
// as was left, and for a lease's time at least. A server's clock that is set forth
// counts as such a time.
//
// # Reports
//
// A job whose service is to report leaves its thread for one of its own. A
// report is kept by the machine that hears it until a script has moved the job;
// its home hears, and keeps it for good. What no shard knows may be about a note
// that its home sent without Redis: every machine hears of it. What comes while
// the job is being sent follows from the end of its lease. A tombstone cannot be moved: the home, which
// has the whole job, publishes it again with a higher round, and as Void says
// that no delivery of an earlier one counts; late words of those stay without
// effect. A redriven job has a higher round too, but a delivery of before counts.
//
// # Scripts
//
// lua/common.lua comes before each of the others, which do one thing each and
// say so on top. Every time is the server's own, and never goes back. One script
// call is all or nothing; its error is one of two kinds: ErrAway, nothing was
// changed, or ErrUncertain, the answer was lost. Nothing is sent again behind the
// caller's back: what is uncertain is asked again, and each script may be.
//
// With Options.URL's replicas=N a write counts when N replicas have it (WAIT on
// the same connection), else it is uncertain.
package shared
