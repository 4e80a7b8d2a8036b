// Package chdb runs ClickHouse in the binary's care: libchdb, ClickHouse as a library, in a child process of the same
// binary, behind a handler that speaks ClickHouse's HTTP interface. clickhouse-go talks to it as to a server.
//
// The engine lives in a child because a crash of it would take the whole process along; the parent keeps the listening
// socket, so a restarted child answers at the same address. Both hold the lock of the data directory: a child whose
// parent was killed ends at once, and the next start waits for it. There are no users: it listens on loopback only, and
// every start has a password of its own, because a web page or another account of the machine reaches loopback too.
package chdb

import (
	"context"
	"crypto/rand"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/sekisho/sekisho/internal/embedded/claim"
)

// Config says what to run.
type Config struct {
	Library string // path of libchdb
	DataDir string
	Addr    string // loopback; port 0 picks one
	Memory  int64  // limit of the engine, bytes; 0: 2 GiB
	Sync    bool   // fsync every inserted part: survives a power cut, not only a crash
	// Command makes the child's command line from the flags RunChild's caller needs. Nil: this executable with
	// "engine-clickhouse".
	Command []string
	Logger  *slog.Logger
}

// ErrLocked reports that another process owns the data directory.
var ErrLocked = claim.ErrTaken

// patience is how long a start waits for the engine of an earlier one to let go of directory and address. One that was
// stopped in order may close its tables for as long.
const patience = 20 * time.Second

// Environment variables by which the parent tells the child its configuration; the socket is file 3, the lock file 4.
const (
	envLibrary = "SEKISHO_ENGINE_LIBRARY"
	envData    = "SEKISHO_ENGINE_DATA"
	envKey     = "SEKISHO_ENGINE_KEY"
)

// Engine is a supervised child.
type Engine struct {
	cfg      Config
	key      string
	lock     *os.File
	listener *net.TCPListener
	logger   *slog.Logger
	stop     context.CancelFunc
	ended    chan struct{}

	mu  sync.Mutex
	pid int
}

// Start starts the engine and returns when it answers. Starting cold may take a while: the library has half a
// gigabyte. ctx bounds the start only.
func Start(ctx context.Context, cfg Config) (*Engine, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Memory == 0 {
		cfg.Memory = 2 << 30
	}
	if cfg.Command == nil {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("start clickhouse: %w", err)
		}
		cfg.Command = []string{self, "engine-clickhouse"}
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("start clickhouse: make data directory: %w", err)
	}
	lock, err := claim.File(ctx, filepath.Join(cfg.DataDir, "sekisho-engine.lock"), patience, func() {
		cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "clickhouse's data directory is in use, waiting for the engine of an earlier start to end")
	})
	if err != nil {
		return nil, fmt.Errorf("start clickhouse: lock data directory: %w", err)
	}
	e, died, err := launch(ctx, cfg, lock)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start clickhouse: %w", err), lock.Close())
	}
	slow := time.NewTicker(10 * time.Second)
	defer slow.Stop()
	for {
		if e.answers(ctx) {
			return e, nil
		}
		select {
		case err := <-died:
			return nil, errors.Join(fmt.Errorf("start clickhouse: %w", err), e.Stop(context.WithoutCancel(ctx)))
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("start clickhouse: %w", ctx.Err()), e.Stop(context.WithoutCancel(ctx)))
		case <-slow.C:
			cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "clickhouse is still starting")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// launch listens and starts supervising. The engine owns the lock from then on. died tells of a child that ended.
func launch(ctx context.Context, cfg Config, lock *os.File) (e *Engine, died <-chan error, err error) {
	if err := writeConfig(&cfg); err != nil {
		return nil, nil, err
	}
	l, err := claim.Address(ctx, cfg.Addr, patience, func() {
		cfg.Logger.LogAttrs(ctx, slog.LevelWarn, "clickhouse's address is in use, waiting")
	})
	if err != nil {
		return nil, nil, err
	}
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return nil, nil, errors.Join(errors.New("the address is not loopback"), l.Close())
	}
	run, stop := context.WithCancel(context.Background())
	e = &Engine{cfg: cfg, key: rand.Text(), lock: lock, listener: l.(*net.TCPListener), logger: cfg.Logger, stop: stop, ended: make(chan struct{})} //nolint:forcetypeassert // net.Listen("tcp")
	ends := make(chan error, 1)
	go func() {
		defer close(e.ended)
		e.supervise(run, ends)
	}()
	return e, ends, nil
}

func (e *Engine) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.listener.Addr().String()+"/ping", nil)
	if err != nil {
		return false
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return false
	}
	return res.Body.Close() == nil && res.StatusCode == http.StatusOK
}

// DSN is where clickhouse-go finds the engine. It stays the same over restarts of the child. It holds the password: it
// MUST NOT be logged.
func (e *Engine) DSN() string {
	return "http://default:" + e.key + "@" + e.listener.Addr().String() + "/default"
}

// PID is the child's process id, 0 between two children.
func (e *Engine) PID() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.pid
}

// Stop ends the child and waits for it.
func (e *Engine) Stop(ctx context.Context) error {
	e.stop()
	select {
	case <-e.ended:
	case <-ctx.Done():
		return fmt.Errorf("stop clickhouse: %w", ctx.Err())
	}
	return errors.Join(e.listener.Close(), e.lock.Close())
}

// supervise keeps a child running until ctx ends. The first that ends is told to died: to a start that still waits for
// it, it failed.
func (e *Engine) supervise(ctx context.Context, died chan<- error) {
	pause := 100 * time.Millisecond
	for ctx.Err() == nil {
		began := time.Now()
		err := e.child(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("nobody asked it to")
		}
		select {
		case died <- fmt.Errorf("the engine ended: %w", err):
		default:
		}
		if time.Since(began) < 5*time.Second {
			pause = min(2*pause, 5*time.Second)
		} else {
			pause = 100 * time.Millisecond
		}
		e.logger.LogAttrs(ctx, slog.LevelError, "clickhouse ended, starting it again", slog.Any("error", err), slog.Duration("in", pause))
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (e *Engine) child(ctx context.Context) error {
	socket, err := e.listener.File()
	if err != nil {
		return fmt.Errorf("pass socket: %w", err)
	}
	defer func() { _ = socket.Close() }()
	cmd := exec.CommandContext(ctx, e.cfg.Command[0], e.cfg.Command[1:]...)
	cmd.Env = append(os.Environ(), envLibrary+"="+e.cfg.Library, envData+"="+e.cfg.DataDir, envKey+"="+e.key,
		"TZ=UTC") // the engine takes its time zone from here and from nowhere else
	cmd.ExtraFiles = []*os.File{socket, e.lock}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = childAttributes()
	// A byte on its standard input asks the child to end; an end of it without one tells that this process is gone.
	alive, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start child: %w", err)
	}
	cmd.Cancel = func() error {
		_, err := alive.Write([]byte{'\n'})
		return errors.Join(err, alive.Close())
	}
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start child: %w", err)
	}
	e.setPID(cmd.Process.Pid)
	defer e.setPID(0)
	return cmd.Wait()
}

func (e *Engine) setPID(pid int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pid = pid
}

// RunChild is the child: it serves the engine on file 3 until its parent asks it to end. Call it from the hidden
// subcommand that Config.Command names. When the parent is gone the process ends at once, wherever it is: nobody is left
// to hear an answer, what was acknowledged is stored, and the next start waits for address and directory.
func RunChild(logger *slog.Logger) error {
	asked := make(chan struct{})
	go func() {
		if n, _ := os.Stdin.Read(make([]byte, 1)); n == 0 {
			logger.Warn("clickhouse ends: the process that started it is gone")
			os.Exit(1)
		}
		close(asked)
	}()
	l, err := net.FileListener(os.NewFile(3, "clickhouse"))
	if err != nil {
		return fmt.Errorf("run clickhouse: no socket, this command is for sekisho itself: %w", err)
	}
	data := os.Getenv(envData)
	key := os.Getenv(envKey)
	if key == "" {
		return errors.New("run clickhouse: no key, this command is for sekisho itself")
	}
	lib, err := loadLibrary(os.Getenv(envLibrary))
	if err != nil {
		return fmt.Errorf("run clickhouse: %w", err)
	}
	lib.disableSignals(0)
	args := []string{"--path=" + data, "--config-file=" + configPath(data)}
	keep, err := lib.open(args...) // boots the engine and holds it open
	if err != nil {
		return fmt.Errorf("run clickhouse: %w", err)
	}
	defer keep.close()
	version, err := engineVersion(keep)
	if err != nil {
		return fmt.Errorf("run clickhouse: %w", err)
	}
	server := &http.Server{
		Handler:           &handler{lib: lib, args: args, version: version, key: key, logger: logger},
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	go func() {
		<-asked
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("run clickhouse: %w", err)
	}
	return <-stopped
}

func engineVersion(c *conn) (string, error) {
	r, err := c.exec("SELECT version()", "TabSeparatedRaw", nil)
	if err != nil {
		return "", fmt.Errorf("read version: %w", err)
	}
	defer r.destroy()
	b := r.bytes()
	if len(b) > 0 && b[len(b)-1] == '\n' {
		b = b[:len(b)-1]
	}
	return string(b), nil
}

func configPath(dataDir string) string { return filepath.Join(dataDir, "sekisho-engine.xml") }

// settings is the engine's configuration file.
type settings struct {
	XMLName   xml.Name `xml:"clickhouse"`
	Memory    int64    `xml:"max_server_memory_usage"`
	MarkCache int64    `xml:"mark_cache_size"`
	MergeTree struct {
		Fsync int `xml:"fsync_after_insert"`
	} `xml:"merge_tree"`
}

func writeConfig(cfg *Config) error {
	s := settings{Memory: cfg.Memory, MarkCache: 128 << 20}
	if cfg.Sync {
		s.MergeTree.Fsync = 1
	}
	text, err := xml.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write engine configuration: %w", err)
	}
	if err := os.WriteFile(configPath(cfg.DataDir), text, 0o600); err != nil {
		return fmt.Errorf("write engine configuration: %w", err)
	}
	return nil
}
