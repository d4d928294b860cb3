package probes

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/sonde-cli/sonde/check"
)

// hostKeyTypes are the values of the option host_key, in the order of preference
// that OpenSSH has, with the algorithms of each. SHA-1 comes last, for servers
// that know nothing else.
var hostKeyTypes = [...]struct {
	name       string
	algorithms []string
}{
	{"ed25519", []string{ssh.KeyAlgoED25519}},
	{"ecdsa", []string{ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521}},
	{"rsa", []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSA}},
}

// hostKeyAlgorithms returns the algorithms of all types.
func hostKeyAlgorithms() []string {
	var all []string
	for _, t := range hostKeyTypes {
		all = append(all, t.algorithms...)
	}
	return all
}

// algorithmsOf returns those of one type.
func algorithmsOf(name string) ([]string, bool) {
	for _, t := range hostKeyTypes {
		if t.name == name {
			return t.algorithms, true
		}
	}
	return nil, false
}

// sshOffers are the algorithms of a server (RFC 4253 section 7.1).
type sshOffers struct{ kex, keys, ciphers, macs []string }

// parseKexInit finds SSH_MSG_KEXINIT in the packets that follow the banner. It
// returns nothing for what is none, or not complete.
func parseKexInit(packets []byte) (offers sshOffers) {
	const kexInit, cookie = 20, 16
	for len(packets) > 5 {
		size, padding := int(binary.BigEndian.Uint32(packets)), int(packets[4])
		if size > len(packets)-4 || size < 2+padding {
			return offers
		}
		payload := packets[5 : 4+size-padding]
		packets = packets[4+size:]
		if payload[0] != kexInit { // a message that may come before
			continue
		}
		if len(payload) < 1+cookie {
			return offers
		}
		lists := payload[1+cookie:]
		var names [10][]string
		for i := range names {
			if len(lists) < 4 {
				return offers
			}
			n := int(binary.BigEndian.Uint32(lists))
			if n > len(lists)-4 {
				return offers
			}
			if n > 0 {
				names[i] = strings.Split(clean(lists[4:4+n]), ",")
			}
			lists = lists[4+n:]
		}
		return sshOffers{kex: names[0], keys: names[1], ciphers: names[3], macs: names[5]}
	}
	return offers
}

// report sets the facts about the server's algorithms.
func (s *sshOffers) report(o *check.Observation) {
	for name, list := range map[string][]string{"offers.kex": s.kex, "offers.keys": s.keys, "offers.ciphers": s.ciphers, "offers.macs": s.macs} {
		if list != nil {
			o.Set(name, list)
		}
	}
}

// sshAlgorithms are all that there are. Nothing secret goes over the connection,
// so that old servers may be seen, too.
func sshAlgorithms() ssh.Config {
	const curve = "curve25519-sha256@libssh.org" // the name before RFC 8731
	supported, insecure := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	i := slices.Index(supported.KeyExchanges, ssh.KeyExchangeCurve25519)
	return ssh.Config{
		KeyExchanges: append(slices.Insert(supported.KeyExchanges, i+1, curve), insecure.KeyExchanges...),
		Ciphers:      append(supported.Ciphers, insecure.Ciphers...),
		MACs:         append(supported.MACs, insecure.MACs...),
	}
}

// agreed sets the facts about the algorithms of a key exchange that has ended:
// the first of ours that the server has, too.
func (s *sshOffers) agreed(o *check.Observation, hostKeys []string) {
	ours := sshAlgorithms()
	for _, a := range []struct {
		fact         string
		ours, theirs []string
	}{
		{"kex", ours.KeyExchanges, s.kex},
		{"cipher", ours.Ciphers, s.ciphers},
		{"key.algorithm", hostKeys, s.keys},
	} {
		if i := slices.IndexFunc(a.ours, func(name string) bool { return slices.Contains(a.theirs, name) }); i >= 0 {
			o.Set(a.fact, a.ours[i])
		}
	}
}

// askAll learns the server's keys of all types, each over a connection of its
// own. The time is no part of the latency.
func (p *sshProbe) askAll(ctx context.Context, j *journey, first *sshSession) {
	start := time.Now()
	defer func() { j.idle += time.Since(start) }()
	keys := map[string]string{first.key.Type(): ssh.FingerprintSHA256(first.key)}
	offers := first.offers()
	for _, t := range hostKeyTypes {
		has := func(algorithm string) bool { return slices.Contains(offers.keys, algorithm) }
		if slices.Contains(t.algorithms, first.key.Type()) || !slices.ContainsFunc(t.algorithms, has) {
			continue
		}
		other := begin()
		other.from = j.from
		s, reason := p.visit(ctx, other, t.algorithms)
		if reason != nil {
			j.obs.Explain(hostKeysFact, reason.Code, "asking for the "+t.name+" key: "+reason.Message)
			return
		}
		keys[s.key.Type()] = ssh.FingerprintSHA256(s.key)
	}
	j.obs.Set(hostKeysFact, keys)
}

// knownHosts reads a known_hosts file.
func knownHosts(file string) (ssh.HostKeyCallback, error) {
	known, err := knownhosts.New(file)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "knownhosts: "))
	}
	return known, nil
}

// preferKnown puts the algorithms of the keys that known_hosts has for the host
// first, as ssh does.
func preferKnown(known ssh.HostKeyCallback, target string, algorithms []string) []string {
	var wanted *knownhosts.KeyError
	if !errors.As(known(target, &net.TCPAddr{}, noKey{}), &wanted) {
		return algorithms
	}
	var first []string
	for _, k := range wanted.Want {
		for _, t := range hostKeyTypes {
			if slices.Contains(t.algorithms, k.Key.Type()) {
				for _, a := range t.algorithms {
					if t.name == "rsa" || a == k.Key.Type() {
						first = append(first, a)
					}
				}
			}
		}
	}
	rest := slices.DeleteFunc(slices.Clone(algorithms), func(a string) bool { return slices.Contains(first, a) })
	return append(first, rest...)
}

// noKey is a key that nobody has.
type noKey struct{ ssh.PublicKey }

// Type returns no type.
func (noKey) Type() string { return "none" }

// Marshal returns nothing.
func (noKey) Marshal() []byte { return nil }

// judgeKnown compares the key with known_hosts.
func (p *sshProbe) judgeKnown(o *check.Observation, s *sshSession) {
	err := p.known(net.JoinHostPort(p.host, p.port), &net.TCPAddr{}, s.key)
	o.Set("known", err == nil)
	if err == nil {
		return
	}
	shown := s.key.Type() + " key " + ssh.FingerprintSHA256(s.key)
	message := "the server's " + shown + ": " + err.Error()
	var wrong *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &revoked):
		message = fmt.Sprintf("the server's %s is revoked, line %d of known_hosts", shown, revoked.Revoked.Line)
	case errors.As(err, &wrong) && len(wrong.Want) == 0:
		message = "known_hosts has no key for this host, which shows the " + shown
	case errors.As(err, &wrong):
		k := wrong.Want[0]
		message = fmt.Sprintf("the server shows the %s, and line %d of known_hosts has the %s key %s", shown, k.Line, k.Key.Type(), ssh.FingerprintSHA256(k.Key))
	}
	o.Explain("known", check.ExpectCode("known"), message)
}
