package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"
)

// The outage's targets are those in 127.128.0.0/9.
const darkBlock = 128

// runOutage runs the same checks twice in a network namespace: with all targets
// healthy, and with a third whose packets are dropped from the first second of
// the window on.
func runOutage(b *bench) error {
	for _, program := range []string{"ip", "nft"} {
		if missing := needs(program); missing != "" {
			return fmt.Errorf("%s is %s", program, missing)
		}
	}
	name := fmt.Sprint("sonde-bench-", os.Getpid())
	if _, _, err := b.complete("ip", "netns", "add", name); err != nil {
		return fmt.Errorf("it takes the rights to make network namespaces: %w", err)
	}
	inside := []string{"ip", "netns", "exec", name}
	defer b.removeNamespace(name)
	if _, _, err := b.complete("ip", "-n", name, "link", "set", "lo", "up"); err != nil {
		return err
	}
	l, err := b.newLab(inside...)
	if err != nil {
		return err
	}
	defer l.close()
	file, err := b.checks("outage", outageGroups(l)...)
	if err != nil {
		return err
	}
	o := childOptions{config: file, warmup: 5 * time.Second, span: b.span, profile: "outage"}
	b.progress("all healthy")
	calm, err := b.sonde(o, inside, nil)
	if err != nil {
		return err
	}
	b.progress("a third dark")
	dark, err := b.sonde(o, inside, func() error { return b.darken(inside) })
	if err != nil {
		return err
	}
	p99 := dark.Groups["healthy"].LateP99
	fmt.Fprintf(b.out, "3,000 checks (half http over fresh connections, a quarter tcp, a quarter dns), interval 2s, timeout 1.5s. Before:\n\n%s\nFrom the moment at which a third is dropped:\n\n%s\n", calm.groups(), dark.groups())
	fmt.Fprintf(b.out, "Goal: p99 of the healthy ones' lateness under 100 ms: %s.\n\n", verdict(p99 < 100*time.Millisecond))
	return nil
}

func outageGroups(l *lab) []group {
	var groups []group
	for block, name := range map[int]string{16: "healthy", darkBlock: "dark"} {
		count := 1000
		if name == "healthy" {
			count = 2000
		}
		for i, probe := range []string{l.fresh(), l.fresh(), l.tcp(), l.dns()} {
			groups = append(groups, group{
				name: name, count: count / 4, block: block + i, probe: probe, interval: 2 * time.Second, timeout: 1500 * time.Millisecond,
			})
		}
	}
	return groups
}

// darken drops what comes to the dark targets.
func (b *bench) darken(inside []string) error {
	const rules = `table inet bench { chain input { type filter hook input priority 0; ip daddr 127.128.0.0/9 drop; }; }`
	_, _, err := b.complete(slices.Concat(inside, []string{"nft", rules})...)
	return err
}

// removeNamespace works after an interrupt, too.
func (b *bench) removeNamespace(name string) {
	again := bench{ctx: context.WithoutCancel(b.ctx)}
	if _, _, err := again.complete("ip", "netns", "del", name); err != nil {
		b.progress("%v", err)
	}
}
