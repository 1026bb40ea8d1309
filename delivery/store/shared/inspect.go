package shared

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// leastVersion is the first Redis that has what the scripts ask for.
const leastVersion = 7

// Inspect looks at the Redis of a URL, see ParseURL, and changes nothing there.
// It returns what is to be mended; its error says why nothing can be shared
// there at all.
func Inspect(ctx context.Context, url string) (mend []string, err error) {
	target, err := ParseURL(url)
	if err != nil {
		return nil, err
	}
	redis.SetLogger(quiet{})
	c := &client{UniversalClient: target.dial(answerWithin)}
	defer func() { err = errors.Join(err, c.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, 5*answerWithin)
	defer cancel()
	if err := c.knows(ctx); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	look := func(ctx context.Context, node *redis.Client) error {
		text, err := node.Info(ctx).Result()
		if err != nil {
			return classed(err)
		}
		mu.Lock()
		defer mu.Unlock()
		mend = append(mend, parseInfo(text).mend(target.replicas)...)
		return nil
	}
	switch u := c.UniversalClient.(type) {
	case *redis.ClusterClient:
		err = u.ForEachMaster(ctx, look)
	case *redis.Client:
		err = look(ctx, u)
	}
	slices.Sort(mend)
	return slices.Compact(mend), err
}

// knows returns an error when this version cannot read what is kept there.
func (c *client) knows(ctx context.Context) error {
	cmds := make([]command, shards)
	for i := range cmds {
		cmds[i] = command{shard: i, args: []any{"GET", prefix(i) + "format"}}
	}
	for _, r := range c.all(ctx, cmds) {
		if r.err != nil {
			return r.err
		}
		text, _ := r.value.(string)
		if format, _ := strconv.Atoi(text); format > knownFormat { // none is 0
			return errNewer
		}
	}
	return nil
}

// info is what a server says of itself (redis.io/commands/info).
type info map[string]string

func parseInfo(text string) info {
	in := info{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			in[name] = value
		}
	}
	return in
}

// number reads a number, of a version the first.
func (in info) number(name string) int {
	text, _, _ := strings.Cut(in[name], ".")
	n, _ := strconv.Atoi(text) // none is 0
	return n
}

// mend is what is to be mended at a server.
func (in info) mend(replicas int) (mend []string) {
	have := in.number("connected_slaves")
	if in.number("redis_version") < leastVersion {
		mend = append(mend, fmt.Sprintf("it is version %s: %d or later is needed", in["redis_version"], leastVersion))
	}
	if p := in["maxmemory_policy"]; in.number("maxmemory") > 0 && p != "noeviction" {
		mend = append(mend, "maxmemory-policy is "+p+": nothing is shared until it is noeviction")
	}
	if have < replicas {
		mend = append(mend, fmt.Sprintf("replicas=%d, but a server has %d: nothing is shared until they are there", replicas, have))
	}
	if in["aof_enabled"] == "0" && have == 0 {
		mend = append(mend, "it has neither appendonly nor a replica: what it forgets is told again by the machines that are up")
	}
	return mend
}
