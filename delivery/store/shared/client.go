package shared

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// client runs commands on the node that holds their shard, each once.
type client struct {
	redis.UniversalClient
	replicas int
	wait     time.Duration // for replicas; below what Redis may take to answer
}

// command is something to do in a shard: a script, or a plain command.
type command struct {
	shard  int
	script *redis.Script // nil for a plain command
	args   []any         // the script's ARGV, or the command in full
	writes bool          // of a plain command; a script always may
}

// reply is what came of a command. Its error is ErrAway or ErrUncertain.
type reply struct {
	value any
	err   error
}

// node is the server that holds a shard.
func (c *client) node(ctx context.Context, shard int) (*redis.Client, error) {
	switch u := c.UniversalClient.(type) {
	case *redis.ClusterClient:
		return u.MasterForKey(ctx, prefix(shard))
	case *redis.Client:
		return u, nil
	}
	return nil, errors.New("no such kind of client")
}

// do runs one command.
func (c *client) do(ctx context.Context, cmd command) (any, error) {
	r := c.all(ctx, []command{cmd})[0]
	return r.value, r.err
}

// all runs commands in one round trip to each node that holds their shards,
// and returns the replies in order.
func (c *client) all(ctx context.Context, cmds []command) []reply {
	replies := make([]reply, len(cmds))
	byNode := map[*redis.Client][]int{}
	for i, cmd := range cmds {
		node, err := c.node(ctx, cmd.shard)
		if err != nil {
			replies[i].err = fmt.Errorf("%w: %w", ErrAway, err)
			continue
		}
		byNode[node] = append(byNode[node], i)
	}
	var trips sync.WaitGroup
	for node, which := range byNode {
		trips.Go(func() {
			c.trip(ctx, node, cmds, which, replies)
			c.loadAndRepeat(ctx, node, cmds, which, replies)
		})
	}
	trips.Wait()
	c.follow(ctx, replies)
	for i := range replies {
		replies[i].err = classed(replies[i].err)
	}
	return replies
}

// trip sends the chosen commands to a node, then waits for its replicas. All
// of it goes over one connection: WAIT counts that connection's writes.
func (c *client) trip(ctx context.Context, node *redis.Client, cmds []command, which []int, replies []reply) {
	pipe := node.Pipeline()
	sent, writes := make([]*redis.Cmd, len(which)), false
	for i, n := range which {
		cmd := cmds[n]
		if cmd.script == nil {
			sent[i] = pipe.Do(ctx, cmd.args...)
			writes = writes || cmd.writes
			continue
		}
		sent[i] = pipe.EvalSha(ctx, cmd.script.Hash(), []string{prefix(cmd.shard)}, cmd.args...)
		writes = true
	}
	var copies *redis.Cmd
	if writes && c.replicas > 0 {
		copies = pipe.Do(ctx, "WAIT", c.replicas, c.wait.Milliseconds())
	}
	_, failed := pipe.Exec(ctx)
	for i, n := range which {
		value, err := sent[i].Result()
		switch {
		case errors.Is(err, redis.Nil):
			value, err = nil, nil
		case err == nil && value == nil: // a refusal where the connection began is no command's own
			err = c.notConnected(failed)
		}
		if err == nil && copies != nil {
			err = c.replicated(copies)
		}
		replies[n] = reply{value, err}
	}
}

// notConnected is why there was no connection to send anything over.
func (c *client) notConnected(why error) error {
	if errors.Is(why, redis.Nil) {
		return fmt.Errorf("%w: no Sentinel knows a master of the name in store.redis", ErrAway)
	}
	return fmt.Errorf("%w: %w", ErrAway, why)
}

// replicated turns WAIT's answer into an error.
func (c *client) replicated(copies *redis.Cmd) error {
	n, err := copies.Int()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	}
	if n < c.replicas {
		return errNotReplicated
	}
	return nil
}

// loadAndRepeat gives a node the scripts that it does not have, and runs them.
func (c *client) loadAndRepeat(ctx context.Context, node *redis.Client, cmds []command, which []int, replies []reply) {
	var missing []int
	load := map[string]*redis.Script{}
	for _, n := range which {
		if redis.HasErrorPrefix(replies[n].err, "NOSCRIPT") {
			missing = append(missing, n)
			load[cmds[n].script.Hash()] = cmds[n].script
		}
	}
	for _, script := range load {
		if err := script.Load(ctx, node).Err(); err != nil {
			for _, n := range missing {
				replies[n].err = fmt.Errorf("%w: load a script: %w", ErrAway, err)
			}
			return
		}
	}
	if len(missing) == 0 {
		return
	}
	c.trip(ctx, node, cmds, missing, replies)
}

// follow looks for the slots anew when one has moved.
func (c *client) follow(ctx context.Context, replies []reply) {
	cluster, ok := c.UniversalClient.(*redis.ClusterClient)
	if !ok {
		return
	}
	for _, r := range replies {
		if r.err != nil && (moved(r.err) || !errors.As(r.err, new(redis.Error))) {
			cluster.ReloadState(ctx)
			return
		}
	}
}

// quiet keeps go-redis from writing to stderr: what it says comes back as
// errors as well.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
