package shared

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Target is a parsed URL. Its fields are not for printing: one is a password.
type Target struct {
	hosts    []string
	user     string
	password string
	db       int
	master   string // the master's name, of Sentinel
	sentinel login  // its own
	cluster  bool
	secure   bool
	replicas int
}

type login struct{ user, password string }

// schemes are the kinds of URL and the port of a host that names none.
func schemes() map[string]string {
	return map[string]string{
		"redis": "6379", "rediss": "6379",
		"redis+cluster": "6379", "rediss+cluster": "6379",
		"redis+sentinel": "26379", "rediss+sentinel": "26379",
	}
}

// ParseURL reads where Redis is:
//
//	redis://[user:password@]host[:6379][/db]
//	redis+sentinel://[user:password@]host[:26379][,host…]/MASTERNAME[/db]
//	redis+cluster://[user:password@]host[:6379][,host…]
//
// rediss, rediss+sentinel and rediss+cluster speak TLS. ?replicas=N is how many
// replicas must have a write before it counts; a Sentinel's own password follows
// as sentinel_password=PASSWORD, and sentinel_user=USER where it has users. No
// error prints the URL.
func ParseURL(raw string) (Target, error) {
	before, hosts, after := cutHosts(raw)
	u, err := url.Parse(before + "hosts" + after) // package url knows one host
	if err != nil {                               // its text would hold the URL
		return Target{}, errors.New("not a URL: expected one like redis://host:6379/0 (escape :, @, / and ? in a password)")
	}
	port, ok := schemes()[u.Scheme]
	if !ok {
		return Target{}, fmt.Errorf("unknown scheme %q: expected redis, rediss, redis+sentinel or redis+cluster", u.Scheme)
	}
	t := Target{
		cluster: strings.HasSuffix(u.Scheme, "+cluster"),
		secure:  strings.HasPrefix(u.Scheme, "rediss"),
		user:    u.User.Username(),
	}
	t.password, _ = u.User.Password()
	for host := range strings.SplitSeq(hosts, ",") {
		address, err := withPort(host, port)
		if err != nil {
			return Target{}, err
		}
		t.hosts = append(t.hosts, address)
	}
	if err := t.path(strings.Trim(u.Path, "/"), strings.HasSuffix(u.Scheme, "+sentinel")); err != nil {
		return Target{}, err
	}
	if len(t.hosts) > 1 && !t.cluster && t.master == "" {
		return Target{}, errors.New("one server has one host: several need redis+sentinel:// or redis+cluster://")
	}
	return t, t.query(u.RawQuery)
}

// cutHosts cuts the hosts out of a URL.
func cutHosts(raw string) (before, hosts, after string) {
	from := strings.Index(raw, "://") + len("://")
	if from < len("://") {
		return raw, "", ""
	}
	to := len(raw)
	if n := strings.IndexAny(raw[from:], "/?#"); n >= 0 {
		to = from + n
	}
	from += strings.LastIndex(raw[from:to], "@") + 1
	return raw[:from], raw[from:to], raw[to:]
}

// path reads the master's name and the database.
func (t *Target) path(path string, sentinel bool) error {
	if sentinel {
		t.master, path, _ = strings.Cut(path, "/")
		if t.master == "" {
			return errors.New("the master's name is missing: expected redis+sentinel://host:26379/MASTERNAME")
		}
	}
	if path == "" {
		return nil
	}
	if t.cluster {
		return errors.New("a Cluster has one database: nothing may follow the hosts")
	}
	db, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return fmt.Errorf("database %q: expected a number", path)
	}
	t.db = int(db)
	return nil
}

const settings = "replicas=N, and for redis+sentinel:// sentinel_password=PASSWORD and sentinel_user=USER, with an & between them (escape &, #, + and % in a password)"

func (t *Target) query(raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return errors.New("what follows the ? cannot be read: expected " + settings)
	}
	for name, value := range values {
		switch {
		case name == "sentinel_password" && t.master != "":
			t.sentinel.password = value[0]
		case name == "sentinel_user" && t.master != "":
			t.sentinel.user = value[0]
		case name == "replicas":
			n, err := strconv.ParseUint(value[0], 10, 8)
			if err != nil {
				return fmt.Errorf("replicas=%q: expected a number up to 255", value[0])
			}
			t.replicas = int(n)
		default: // the name may be the rest of a password
			return errors.New("an unknown setting follows the ?: expected " + settings)
		}
	}
	return nil
}

// withPort completes a host, an address of IPv6 in brackets among them.
func withPort(host, port string) (string, error) {
	name, given, err := net.SplitHostPort(host)
	if err != nil {
		name, given, err = net.SplitHostPort(host + ":" + port)
	}
	if n, bad := strconv.ParseUint(cmp.Or(given, port), 10, 16); err != nil || bad != nil || n == 0 || name == "" {
		return "", errors.New("a host is missing or malformed: expected host or host:port, several separated by commas")
	}
	return net.JoinHostPort(name, cmp.Or(given, port)), nil
}

// dial makes the client; nothing is connected yet. What go-redis would do on
// its own account is off: it would repeat a write whose answer was lost.
func (t Target) dial(answer time.Duration) redis.UniversalClient {
	o := &redis.UniversalOptions{
		Addrs: t.hosts, Username: t.user, Password: t.password, DB: t.db, MasterName: t.master, IsClusterMode: t.cluster,
		SentinelUsername: t.sentinel.user, SentinelPassword: t.sentinel.password,
		Protocol: 2, DisableIdentity: true,
		MaxRetries: -1, MaxRedirects: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		DialTimeout: answer / 2, ReadTimeout: answer, WriteTimeout: answer, PoolTimeout: answer,
		PoolSize: 32, PipelinePoolSize: -1,
	}
	if t.secure {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	return redis.NewUniversalClient(o)
}
