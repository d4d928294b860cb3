package probes

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sonde-cli/sonde/check"
)

// system is where the machine's own name resolution is configured:
// resolv.conf(5) and hosts(5). Both files are read again when they change, so
// that a long-lived process follows a laptop from network to network. It is
// safe for concurrent use.
type system struct {
	confPath, hostsPath string
	read                func(path string) ([]byte, error)

	mu    sync.Mutex
	conf  followed[*resolvConf]
	hosts followed[map[string][]netip.Addr]
}

// machine returns the system of this machine, shared by all probes.
var machine = sync.OnceValue(func() *system {
	return &system{confPath: "/etc/resolv.conf", hostsPath: "/etc/hosts", read: os.ReadFile}
})

// stamp tells two versions of a file apart.
type stamp struct {
	modified time.Time
	size     int64
	exists   bool
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{modified: info.ModTime(), size: info.Size(), exists: true}
}

// resolvConf is what resolv.conf(5) says.
type resolvConf struct {
	servers []netip.AddrPort
	search  []string // lower case, absolute (with the final dot)
	ndots   int
	timeout time.Duration // of one server
}

// config returns the parsed resolv.conf. A file that is missing or may not be
// read is an empty one, as resolv.conf(5) says. The error is as of current.
func (s *system) config() (*resolvConf, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conf.current(s.confPath, s.read, parseResolvConf)
}

// lookup returns the addresses that the hosts file has for the name, which is
// lower case and without a final dot. The error is as of current.
func (s *system) lookup(name string) ([]netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hosts, err := s.hosts.current(s.hostsPath, s.read, parseHosts)
	return hosts[name], err
}

// followed is what a file said when it was last read.
type followed[T any] struct {
	stamp stamp
	known bool
	value T
}

// current returns what the file says, and reads it again when it has changed.
// An error that may pass (out of descriptors) is not taken for an empty file:
// what was known before counts until a read succeeds. The error is that of a
// read that this machine has no means for when nothing was known before.
func (f *followed[T]) current(path string, read func(string) ([]byte, error), parse func([]byte) T) (T, error) {
	now := stampOf(path)
	if f.known && now == f.stamp {
		return f.value, nil
	}
	text, err := read(path)
	switch {
	case err == nil:
		*f = followed[T]{now, true, parse(text)}
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		*f = followed[T]{now, true, parse(nil)}
	case f.known:
	case exhausted(err):
		return f.value, err
	default:
		return parse(nil), nil
	}
	return f.value, nil
}

// exhausted reports whether this machine has run out of what a call needs.
func exhausted(err error) bool {
	code := cause(err, "").Code
	return code == check.LocalFD || code == check.LocalOverload
}

// Limits of resolv.conf: glibc's MAXNS, the count of its search domains, and
// its caps of the options.
const (
	maxServers    = 3
	maxSearch     = 6
	maxNdots      = 15
	serverTimeout = 5 * time.Second
	maxTimeout    = 30 * time.Second
)

// parseResolvConf reads resolv.conf(5). What it does not understand it passes
// over, as every resolver does.
func parseResolvConf(text []byte) *resolvConf {
	c := &resolvConf{ndots: 1, timeout: serverTimeout}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		if line == "" || line[0] == '#' || line[0] == ';' {
			continue
		}
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		switch words[0] {
		case "nameserver":
			if addr, ok := serverAddr(words[1]); ok && len(c.servers) < maxServers {
				c.servers = append(c.servers, addr)
			}
		case "domain":
			c.setSearch(words[1:2])
		case "search":
			c.setSearch(words[1:])
		case "options":
			c.setOptions(words[1:])
		}
	}
	if len(c.servers) == 0 {
		c.servers = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), dnsPort)}
	}
	return c
}

// serverAddr reads an address, or [address]:port as OpenBSD's resolv.conf(5)
// has it.
func serverAddr(text string) (netip.AddrPort, bool) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(ip, dnsPort), true
	}
	host, port, ok := strings.Cut(strings.TrimPrefix(text, "["), "]:")
	ip, err := netip.ParseAddr(host)
	n, err2 := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(ip, uint16(n)), ok && err == nil && err2 == nil
}

func (c *resolvConf) setSearch(domains []string) {
	c.search = nil
	for _, d := range domains {
		if d = strings.ToLower(strings.Trim(d, ".")); d != "" && len(c.search) < maxSearch {
			c.search = append(c.search, d+".")
		}
	}
}

func (c *resolvConf) setOptions(options []string) {
	for _, o := range options {
		name, value, _ := strings.Cut(o, ":")
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 {
			continue
		}
		switch name {
		case "ndots":
			c.ndots = min(n, maxNdots)
		case "timeout":
			c.timeout = max(time.Second, min(time.Duration(n)*time.Second, maxTimeout))
		}
	}
}

// names returns the absolute names to ask for, in order, for a host name as it
// was written. A name with a dot is absolute: example.com must never silently
// become example.com.corp because of a search domain. Only a single label, and
// with search also a name with dots, is completed by the search domains, in
// the order that ndots asks for.
func (c *resolvConf) names(host string, search bool) []string {
	dots := strings.Count(host, ".")
	if strings.HasSuffix(host, ".") {
		return []string{host}
	}
	if dots > 0 && !search {
		return []string{host + "."}
	}
	names := make([]string, 0, len(c.search)+1)
	if dots >= c.ndots && dots > 0 {
		names = append(names, host+".")
	}
	for _, d := range c.search {
		names = append(names, host+"."+d)
	}
	if len(names) == len(c.search) {
		names = append(names, host+".")
	}
	return names
}

// parseHosts reads hosts(5): the addresses of each name, in the file's order.
func parseHosts(text []byte) map[string][]netip.Addr {
	hosts := make(map[string][]netip.Addr)
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		ip, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		for _, name := range words[1:] {
			name = strings.ToLower(strings.TrimSuffix(name, "."))
			hosts[name] = append(hosts[name], ip)
		}
	}
	return hosts
}
