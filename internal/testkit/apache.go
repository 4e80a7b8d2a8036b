package testkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/embedded/claim"
)

const (
	apacheStartTimeout = 90 * time.Second
	apacheStopTimeout  = 10 * time.Second
	// clusterID is any base64 UUID: each broker has a directory of its own.
	clusterID = "c2VraXNoby10ZXN0cy0wMQ"
)

// Main runs a package's tests with one Apache Kafka for all of them, started by the first that asks. Call it from
// TestMain. Without it, each test that asks has a broker of its own.
func Main(m *testing.M) int {
	shared.enabled = true
	defer func() {
		if shared.broker != nil {
			_ = shared.broker.Stop() // the process is killed in any case
		}
		if shared.dir != "" {
			_ = os.RemoveAll(shared.dir)
		}
	}()
	return m.Run()
}

// shared is the broker of one test process. go test gives no other place for something that outlives a test.
var shared struct {
	sync.Mutex
	enabled bool
	dir     string
	broker  *Apache
	err     error
}

// ApacheKafka returns the host:port of a running Apache Kafka: one KRaft broker and controller in its own Java process.
// Topics outlive a test when the broker is shared (Main), so tests name theirs apart. Without Java or Maven, or with jars
// that are neither cached nor to be had, the test is skipped; with CI=true it fails.
func ApacheKafka(t testing.TB) string {
	t.Helper()
	if !shared.enabled {
		return StartApache(t).Addr()
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.broker == nil && shared.err == nil {
		jars := apacheJars(t)
		if shared.dir, shared.err = os.MkdirTemp("", "sekisho-kafka-"); shared.err == nil {
			shared.broker, shared.err = newApache(shared.dir, jars)
		}
		if shared.err == nil {
			shared.err = shared.broker.Start(t)
		}
	}
	if shared.err != nil {
		t.Fatalf("start Apache Kafka: %v", shared.err)
	}
	return shared.broker.Addr()
}

// StartApache starts an Apache Kafka for this test alone, on t.TempDir.
func StartApache(t testing.TB) *Apache {
	t.Helper()
	a, err := newApache(t.TempDir(), apacheJars(t))
	if err == nil {
		err = a.Start(t)
	}
	if err != nil {
		t.Fatalf("start Apache Kafka: %v", err)
	}
	t.Cleanup(func() {
		if err := a.Stop(); err != nil {
			t.Errorf("stop Apache Kafka: %v", err)
		}
	})
	return a
}

// Apache is one Apache Kafka process, which can be stopped and started again on its port and directory.
type Apache struct {
	dir, jars string
	port      int
	kill      context.CancelFunc
	exited    chan error
}

func newApache(dir, jars string) (*Apache, error) {
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	a := &Apache{dir: dir, jars: jars, port: ports[0]}
	// Short times where production has long ones: what is tested is that rebalancing and compaction happen.
	settings := fmt.Sprintf(`process.roles=broker,controller
node.id=1
listeners=CLIENT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=CLIENT://127.0.0.1:%[1]d
listener.security.protocol.map=CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=CLIENT
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:%[2]d
log.dirs=%[3]s
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=100
log.cleaner.backoff.ms=100
log.cleaner.min.cleanable.ratio=0.001
log.cleaner.dedupe.buffer.size=16777216
log.retention.check.interval.ms=500
log.initial.task.delay.ms=500
`, ports[0], ports[1], filepath.Join(dir, "log"))
	if err := os.WriteFile(a.file("server.properties"), []byte(settings), 0o600); err != nil {
		return nil, err
	}
	logging := `status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %-5p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
`
	if err := os.WriteFile(a.file("log4j2.properties"), []byte(logging), 0o600); err != nil {
		return nil, err
	}
	format := a.java("kafka.tools.StorageTool", "format", "--cluster-id", clusterID, "--config", a.file("server.properties"))
	if out, err := exec.Command(format[0], format[1:]...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format storage: %w: %s", err, bytes.TrimSpace(out))
	}
	return a, nil
}

// Addr is the broker's host:port.
func (a *Apache) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(a.port)) }

// Start runs the process and returns when it listens; the time that took goes to the test's log.
func (a *Apache) Start(t testing.TB) error {
	t.Helper()
	began := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	a.kill, a.exited = cancel, make(chan error, 1)
	args := a.java("kafka.Kafka", a.file("server.properties"))
	started := make(chan error, 1)
	go func() {
		// Linux sends Pdeathsig when the thread that forked ends, not the process: keep the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		out, err := os.OpenFile(a.file("broker.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			started <- err
			return
		}
		defer func() { _ = out.Close() }() // written by the child alone
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = out, out
		cmd.SysProcAttr = dieWithParent()
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = apacheStopTimeout
		err = cmd.Start()
		started <- err
		if err == nil {
			a.exited <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		cancel()
		return err
	}
	for deadline := began.Add(apacheStartTimeout); ; time.Sleep(25 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", a.Addr(), time.Second)
		if err == nil {
			_ = conn.Close()
			t.Logf("Apache Kafka listens after %v", time.Since(began).Round(time.Millisecond))
			return nil
		}
		select {
		case err := <-a.exited:
			a.exited <- err
			return fmt.Errorf("broker ended: %w\n%s", err, a.tail())
		default:
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("broker does not listen: %w\n%s", err, a.tail()), a.Stop())
		}
	}
}

// Stop ends the process, with SIGTERM first, and waits for it.
func (a *Apache) Stop() error {
	if a.kill == nil {
		return nil
	}
	a.kill()
	a.kill = nil
	err := <-a.exited
	var exit *exec.ExitError
	if errors.Is(err, context.Canceled) || errors.As(err, &exit) {
		return nil // a JVM ends a SIGTERM with code 143
	}
	return err
}

func (a *Apache) file(name string) string { return filepath.Join(a.dir, name) }

func (a *Apache) java(class string, args ...string) []string {
	return append([]string{
		"java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto",
		"-Dlog4j2.configurationFile=" + a.file("log4j2.properties"),
		"-cp", filepath.Join(a.jars, "*"), class,
	}, args...)
}

// tail is the end of the broker's log, for a failure's message.
func (a *Apache) tail() string {
	out, err := os.ReadFile(a.file("broker.log"))
	if err != nil {
		return err.Error()
	}
	return string(out[max(0, len(out)-4096):])
}

// apacheJars returns the directory of the checked jars, fetching them if they are not cached.
func apacheJars(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("java"); err != nil {
		missing(t, "Apache Kafka needs java (17 or newer) on the PATH")
	}
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("the position of the test kit's source is unknown")
	}
	// Packages are tested at the same time: without a lock one would replace the jars that the other's broker runs from.
	cache := filepath.Join(filepath.Dir(here), "..", "..", ".cache", "kafka")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := claim.File(t.Context(), filepath.Join(cache, "fetch.lock"), 10*time.Minute, func() { t.Log("another process fetches Apache Kafka, waiting for it") })
	if err != nil {
		t.Fatalf("fetch Apache Kafka: %v", err)
	}
	defer func() { _ = lock.Close() }() // the end of the process would do it too
	cmd := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(here), "kafka", "fetch.sh"))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == 3 {
		missing(t, strings.TrimSpace(errs.String()))
	}
	if err != nil {
		t.Fatalf("fetch Apache Kafka: %v\n%s", err, errs.String())
	}
	return strings.TrimSpace(out.String())
}
