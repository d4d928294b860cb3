// Oneshot compares the time of a whole `sonde check URL` with that of `curl -s
// URL` against the same static server on loopback: interleaved runs, the
// median of each, and their ratio. It needs curl on PATH.
//
//	go run ./bench/oneshot [-runs 50]
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	runs := flag.Int("runs", 50, "runs of each program")
	flag.Parse()
	if err := compare(os.Stdout, *runs); err != nil {
		fmt.Fprintln(os.Stderr, "oneshot:", err)
		os.Exit(1)
	}
}

// program is one side of the comparison.
type program struct {
	name    string
	version string
	argv    []string
	wall    []time.Duration
	cpu     []time.Duration
}

func compare(w io.Writer, runs int) error {
	dir, err := os.MkdirTemp("", "oneshot")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sonde := filepath.Join(dir, "sonde")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", sonde, ".")
	build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building sonde (run this from the top of the checkout): %w", err)
	}
	url, stop, err := serve()
	if err != nil {
		return err
	}
	defer stop()
	programs := []*program{
		{name: "sonde check", argv: []string{sonde, "check", url}, version: version(sonde, "version")},
		{name: "curl -s", argv: []string{"curl", "-s", url}, version: version("curl", "--version")},
	}
	for i := range runs + 3 { // the first ones warm the page cache
		for _, p := range programs {
			if err := p.run(i >= 3); err != nil {
				return err
			}
		}
	}
	report(w, programs)
	return nil
}

// serve answers every request with the same short page.
func serve() (url string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	page := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n")
	go func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			} else if err != nil {
				continue
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = conn.Write(page) // the client's run fails when this does
				}
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/", func() { l.Close() }, nil
}

func (p *program) run(count bool) error {
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	wall := time.Since(start)
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", p.name, err, out)
	}
	if count {
		p.wall = append(p.wall, wall)
		p.cpu = append(p.cpu, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	return nil
}

func version(argv ...string) string {
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if err != nil {
		return "unknown version"
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

func report(w io.Writer, programs []*program) {
	fmt.Fprintf(w, "%s/%s, %d cores, %s, medians of %d interleaved runs\n\n", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), len(programs[0].wall))
	fmt.Fprintln(w, "| program | wall | cpu | version |\n|---|---|---|---|")
	for _, p := range programs {
		fmt.Fprintf(w, "| %s | %.2f ms | %.2f ms | %s |\n", p.name, ms(median(p.wall)), ms(median(p.cpu)), p.version)
	}
	a, b := programs[0], programs[1]
	fmt.Fprintf(w, "\nratio of %s to %s: wall %.2f, cpu %.2f\n", a.name, b.name,
		ms(median(a.wall))/ms(median(b.wall)), ms(median(a.cpu))/ms(median(b.cpu)))
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
