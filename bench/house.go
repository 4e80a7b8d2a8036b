package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a process of the benchmark's own.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func start(ctx context.Context, log io.Writer, name string, args ...string) (*child, error) {
	c := &child{cmd: exec.CommandContext(ctx, name, args...), done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(name), err)
	}
	go func() { _ = c.cmd.Wait(); close(c.done) }()
	return c, nil
}

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// stop ends it as Ctrl-C does, and by force if it takes too long.
func (c *child) stop() {
	if c.ended() {
		return
	}
	_ = c.cmd.Process.Signal(os.Interrupt)
	select {
	case <-c.done:
	case <-time.After(30 * time.Second):
		_ = c.cmd.Process.Signal(syscall.SIGKILL)
		<-c.done
	}
}

// house is a running `sekisho up`.
type house struct {
	*child
	binary, data              string
	collector, metrics, query string // host:port
	key                       string
}

func freeAddrs(ctx context.Context, n int) ([]string, error) {
	var addrs []string
	for range n {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close() //nolint:errcheck // only looked at; all are held until all are known
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}

func startHouse(ctx context.Context, binary, data string) (*house, error) {
	a, err := freeAddrs(ctx, 8)
	if err != nil {
		return nil, err
	}
	h := &house{binary: binary, data: data, collector: a[0], metrics: a[1], query: a[2]}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	log := &bytes.Buffer{}
	h.child, err = start(ctx, log, binary, "up", "--data", data, "--query-exact", // a beacon is waited for by its count
		"--collector-addr", a[0], "--pipeline-addr", a[1], "--collector-pipeline-url", "http://"+a[1], "--query-addr", a[2],
		"--kafka-addr", a[3], "--clickhouse-addr", a[4], "--collector-metrics-addr", a[5], "--query-metrics-addr", a[6], "--sample-addr", a[7],
		"--collector-trusted-proxies", "127.0.0.0/8", "--collector-rate", "1e9", "--collector-burst", "1000000000", "--query-threshold", "2")
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if h.ended() || time.Now().After(deadline) {
			h.stop()
			return nil, errors.New("the house did not come up:\n" + log.String())
		}
		// The demo key is written when everything is ready.
		if key, err := os.ReadFile(filepath.Join(data, "demo.key")); err == nil && len(key) > 0 {
			h.key = strings.TrimSpace(string(key))
			return h, nil
		}
	}
}

// get reads an internal or public page of the house.
func (h *house) get(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+h.key)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask: status %d: %s", res.StatusCode, body)
	}
	return string(body), nil
}

// drain waits until the pipeline has read everything.
func (h *house) drain(ctx context.Context) error {
	for deadline := time.Now().Add(5 * time.Minute); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		text, err := h.get(ctx, "http://"+h.metrics+"/metrics")
		if err != nil {
			return err
		}
		partitions, behind := 0, false
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, "sekisho_pipeline_lag_records{"); ok {
				partitions++
				behind = behind || !strings.HasSuffix(strings.TrimSpace(rest), "} 0")
			}
		}
		if partitions > 0 && !behind {
			time.Sleep(time.Second) // the last batch is stored within the flush interval
			return nil
		}
	}
	return errors.New("the pipeline did not catch up in five minutes")
}

// printMemory prints the resident memory of the binary and of its ClickHouse child (Linux).
func (h *house) printMemory() {
	pid := h.cmd.Process.Pid
	fmt.Printf("  collector, broker, pipeline, query  %4d MB now, %4d MB at most\n", status(pid, "VmRSS"), status(pid, "VmHWM"))
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // a child belongs to the thread that made it
	for _, t := range threads {
		children, _ := os.ReadFile(t)
		for _, c := range strings.Fields(string(children)) {
			if n, err := strconv.Atoi(c); err == nil && status(n, "VmRSS") > 0 {
				fmt.Printf("  embedded ClickHouse                 %4d MB now, %4d MB at most\n", status(n, "VmRSS"), status(n, "VmHWM"))
			}
		}
	}
}

// status is a value of /proc/PID/status in MB.
func status(pid int, name string) int {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			kb, _ := strconv.Atoi(strings.Fields(rest)[0])
			return kb / 1024
		}
	}
	return 0
}

// reference is the bare handler in a process of its own.
type reference struct {
	*child
	addr string
}

func startReference(ctx context.Context) (*reference, error) {
	a, err := freeAddrs(ctx, 1)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start reference: %w", err)
	}
	c, err := start(ctx, os.Stderr, self, "-bare", a[0])
	if err != nil {
		return nil, err
	}
	for range 100 {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", a[0])
		if err == nil {
			return &reference{c, a[0]}, conn.Close()
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.stop()
	return nil, errors.New("the reference did not come up")
}
