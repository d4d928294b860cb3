package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sonde-cli/sonde/config"
	"github.com/sonde-cli/sonde/probes"
)

// group is a number of checks that are alike, each for an address of its own.
type group struct {
	name     string
	count    int
	block    int // the addresses are 127.block.0.1 and those after it
	interval time.Duration
	timeout  time.Duration // 0: the default
	probe    string        // the kind's block as YAML, with ${each.ip} for the address
}

// checks writes a file of checks and the lists of its addresses.
func (b *bench) checks(name string, groups ...group) (string, error) {
	var text strings.Builder
	text.WriteString("version: 1\nchecks:\n")
	for i, g := range groups {
		list := fmt.Sprintf("%s-%d.txt", name, i)
		if err := addresses(filepath.Join(b.dir, list), g.block, g.count); err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "  - name: %s\n    labels: {group: %s}\n    each: {ip: {file: %s}}\n    interval: %v\n    %s\n",
			strings.ReplaceAll(g.name, " ", "-"), g.name, list, g.interval, g.probe)
		if g.timeout > 0 {
			fmt.Fprintf(&text, "    timeout: %v\n", g.timeout)
		}
	}
	file := filepath.Join(b.dir, name+".yaml")
	return file, write(file, text.String())
}

// addresses writes a list of loopback addresses, one a line.
func addresses(file string, block, count int) error {
	var list []byte
	for i := range count {
		list = append(append(list, loopback(block, i)...), '\n')
	}
	return os.WriteFile(file, list, 0o600)
}

// loopback returns the address number i of a block.
func loopback(block, i int) string {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 127<<24|uint32(block)<<16+uint32(i)+1)
	return netip.AddrFrom4(a).String()
}

// The probes of the scenarios, as YAML.
func (l *lab) fresh() string { return fmt.Sprintf("http: {url: 'http://${each.ip}:%d/'}", l.httpPort) }

func (l *lab) reused() string {
	return fmt.Sprintf("http: {url: 'http://${each.ip}:%d/', connection: reuse}", l.httpPort)
}

func (l *lab) https() string {
	return fmt.Sprintf("http: {url: 'https://${each.ip}:%d/', version: '1.1', tls: {ca: %s, server_name: %s}}", l.httpsPort, l.ca, certName)
}

func (l *lab) tcp() string { return fmt.Sprintf("tcp: {host: '${each.ip}', port: %d}", l.httpPort) }

// dns asks the server on the check's own address for a name of its own.
func (l *lab) dns() string {
	return fmt.Sprintf("dns: {name: '${each.ip}.bench.test', server: '${each.ip}:%d'}", l.dnsPort)
}

const icmp = "icmp: {host: '${each.ip}', count: 1}"

// reuses reports whether http has the option connection: reuse.
func (b *bench) reuses() bool {
	file := filepath.Join(b.dir, "reuse.yaml")
	text := "version: 1\nchecks: [{name: a, http: {url: 'http://127.0.0.1/', connection: reuse}}]\n"
	if write(file, text) != nil {
		return false
	}
	loader := config.Loader{Kinds: probes.Kinds(), Version: "bench"}
	_, err := loader.Load(context.Background(), file)
	return err == nil
}
