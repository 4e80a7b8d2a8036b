package chdb_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/embedded/chdb"
	"github.com/sekisho/sekisho/internal/testkit"
)

// parentDir, when set, makes the test binary a parent that can be killed; parentAddr is where its engine listens.
const (
	parentDir  = "SEKISHO_TEST_PARENT_DIR"
	parentAddr = "SEKISHO_TEST_PARENT_ADDR"
)

func TestMain(m *testing.M) {
	testkit.EngineMain()
	if dir := os.Getenv(parentDir); dir != "" {
		if err := runParent(dir, os.Getenv(parentAddr)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// runParent starts an engine, tells its process id and its DSN, and waits to be killed.
func runParent(dir, addr string) error {
	cfg, err := testkit.EngineConfig(context.Background(), dir)
	if err != nil {
		return err
	}
	cfg.Addr = addr
	e, err := chdb.Start(context.Background(), cfg)
	if err != nil {
		return err
	}
	fmt.Println(e.PID(), e.DSN())
	select {}
}

// parent is a process that started an engine.
type parent struct {
	cmd *exec.Cmd
	pid int // the engine's
	dsn string
}

func startParent(t *testing.T, dir, addr string) *parent {
	t.Helper()
	p := &parent{cmd: exec.CommandContext(t.Context(), os.Args[0])}
	p.cmd.Env = append(os.Environ(), parentDir+"="+dir, parentAddr+"="+addr)
	p.cmd.Stderr = os.Stderr // of the engine too, which may outlive the test that reads it
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the parent said nothing: %v", err)
	}
	if _, err := fmt.Sscan(line, &p.pid, &p.dsn); err != nil {
		t.Fatal(err)
	}
	return p
}

// kill ends the parent without warning.
func (p *parent) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
}

// runs reports whether a process lives; one that waits to be reaped does not.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func post(ctx context.Context, dsn, sql string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, dsn, strings.NewReader(sql))
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d: %s", res.StatusCode, body)
	}
	return string(body), nil
}

// The engine is in the middle of a long statement that no disconnect interrupts when its parent is killed.
func TestAStartAfterAKillFindsDirectoryAndAddressFree(t *testing.T) {
	dir, addr := t.TempDir(), testkit.Addrs(t, 1)[0]
	old := startParent(t, dir, addr)
	if _, err := post(t.Context(), old.dsn, "CREATE TABLE kept ENGINE = MergeTree ORDER BY x AS SELECT number AS x FROM numbers(1000)"); err != nil {
		t.Fatal(err)
	}
	go func() { // breaks off with the engine
		_, _ = post(context.Background(), old.dsn, "CREATE TABLE cut ENGINE = MergeTree ORDER BY x AS SELECT sleepEachRow(3) AS x FROM numbers(100) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0")
	}()
	testkit.Eventually(t, 30*time.Second, func() bool {
		n, err := post(t.Context(), old.dsn, "SELECT count() FROM system.processes WHERE query LIKE 'CREATE TABLE cut%'")
		return err == nil && strings.TrimSpace(n) == "1"
	})
	old.kill()
	killed, gone := time.Now(), make(chan time.Duration, 1)
	go func() {
		for runs(old.pid) {
			time.Sleep(10 * time.Millisecond)
		}
		gone <- time.Since(killed)
	}()

	cfg, err := testkit.EngineConfig(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Addr, cfg.Logger = addr, testkit.Logger(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := chdb.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if runs(old.pid) {
		t.Error("the new engine started beside the old one")
	}
	if took := <-gone; took > 10*time.Second { // the statement goes on for minutes
		t.Errorf("the old engine ended after %v", took)
	}
	if n, err := post(t.Context(), e.DSN(), "SELECT count() FROM kept"); err != nil || n != "1000\n" {
		t.Errorf("%q rows, %v", n, err)
	}
}

func TestAnEngineWhoseParentIsKilledWhileItStartsEndsToo(t *testing.T) {
	dir, addr := t.TempDir(), testkit.Addrs(t, 1)[0]
	for _, after := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, 150 * time.Millisecond} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), parentDir+"="+dir, parentAddr+"="+addr)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after) // wherever it is by then
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}
	cfg, err := testkit.EngineConfig(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Addr, cfg.Logger = addr, testkit.Logger(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := chdb.Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func TestASecondOwnerOfADirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	testkit.Engine(t, dir)
	cfg, err := testkit.EngineConfig(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger = testkit.Logger(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // less than its patience
	defer cancel()
	if _, err := chdb.Start(ctx, cfg); !errors.Is(err, chdb.ErrLocked) {
		t.Errorf("second start = %v, want ErrLocked", err)
	}
}

func TestAnEngineThatCannotStartSaysSo(t *testing.T) {
	cfg, err := testkit.EngineConfig(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Logger, cfg.Library = testkit.Logger(t), cfg.DataDir+"/none.so"
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := chdb.Start(ctx, cfg); err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "the engine ended") {
		t.Errorf("start = %v", err)
	}
}
