package broker_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sekisho/sekisho/internal/embedded/broker"
	"github.com/sekisho/sekisho/internal/testkit"
)

// childConfig, when set, makes the test binary a broker child with that configuration.
const childConfig = "SEKISHO_TEST_BROKER"

func TestMain(m *testing.M) {
	if encoded := os.Getenv(childConfig); encoded != "" {
		var cfg broker.Config
		err := json.Unmarshal([]byte(encoded), &cfg)
		if err == nil {
			err = broker.RunChild(context.Background(), cfg)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is a broker in a process of its own.
type child struct {
	cmd   *exec.Cmd
	stdin interface{ Close() error }
	addr  string
}

func startChild(t *testing.T, cfg broker.Config) *child {
	t.Helper()
	encoded, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childConfig+"="+string(encoded))
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	addrs, err := broker.ReadReady(stdout)
	if err != nil {
		t.Fatal(err)
	}
	return &child{cmd: cmd, stdin: stdin, addr: addrs[0]}
}

// kill9 ends the child without warning and waits until it is gone.
func (c *child) kill9(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = c.cmd.Wait() // says that it was killed
}

func client(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr), kgo.FetchMaxWait(100 * time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner())}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func createTopic(t *testing.T, cl *kgo.Client, topic string, partitions int32, config map[string]string) {
	t.Helper()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, partitions, 1
	for name, value := range config {
		c := kmsg.NewCreateTopicsRequestTopicConfig()
		c.Name, c.Value = name, kmsg.StringPtr(value)
		rt.Configs = append(rt.Configs, c)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(t.Context(), cl)
	if err != nil || res.Topics[0].ErrorCode != 0 {
		t.Fatalf("create topic: %v, %+v", err, res)
	}
}

// readAll reads a topic from its start to the high watermarks and returns the values, by key.
func readAll(t *testing.T, addr, topic string, partitions int32) map[string][]string {
	t.Helper()
	cl := client(t, addr)
	ends := map[int32]int64{}
	values := map[string][]string{}
	for p := range partitions {
		ends[p] = listOffset(t, cl, topic, p, -1)
		start := listOffset(t, cl, topic, p, -2)
		if start < ends[p] {
			cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {p: kgo.NewOffset().At(start)}})
		}
		next := start
		for next < ends[p] {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			fetches := cl.PollFetches(ctx)
			cancel()
			if err := fetches.Err(); err != nil {
				t.Fatalf("read %s/%d at %d of %d: %v", topic, p, next, ends[p], err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				values[string(r.Key)] = append(values[string(r.Key)], string(r.Value))
				next = r.Offset + 1
			})
		}
		cl.RemoveConsumePartitions(map[string][]int32{topic: {p}})
	}
	return values
}

func listOffset(t *testing.T, cl *kgo.Client, topic string, partition int32, which int64) int64 {
	t.Helper()
	rp := kmsg.NewListOffsetsRequestTopicPartition()
	rp.Partition, rp.Timestamp = partition, which
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	rt.Partitions = append(rt.Partitions, rp)
	req := kmsg.NewPtrListOffsetsRequest()
	req.Topics = append(req.Topics, rt)
	res, err := req.RequestWith(t.Context(), cl)
	if err != nil {
		t.Fatalf("list offsets: %v", err)
	}
	return res.Topics[0].Partitions[0].Offset
}

func TestAcknowledgedMessagesSurviveKill9(t *testing.T) {
	for _, syncWrites := range []bool{false, true} {
		t.Run("SyncWrites="+strconv.FormatBool(syncWrites), func(t *testing.T) {
			const partitions = 3
			cfg := broker.Config{DataDir: t.TempDir(), Addr: freeAddr(t), SyncWrites: syncWrites}
			victim := startChild(t, cfg)
			cl := client(t, victim.addr)
			createTopic(t, cl, "events", partitions, nil)

			var mu sync.Mutex
			acked := map[string]bool{}
			ctx, stop := context.WithCancel(t.Context())
			var writers sync.WaitGroup
			for p := range int32(partitions) {
				writers.Go(func() {
					for i := 0; ctx.Err() == nil; i++ {
						key := fmt.Sprintf("%d-%d", p, i)
						rec := &kgo.Record{Topic: "events", Partition: p, Key: []byte(key), Value: []byte(strings.Repeat("v", 200))}
						if err := cl.ProduceSync(ctx, rec).FirstErr(); err == nil {
							mu.Lock()
							acked[key] = true
							mu.Unlock()
						}
					}
				})
			}
			count := func() int {
				mu.Lock()
				defer mu.Unlock()
				return len(acked)
			}
			testkit.Eventually(t, 20*time.Second, func() bool { return count() >= 1000 })
			victim.kill9(t)
			stop()
			cl.Close() // breaks off what waits for the broker
			writers.Wait()

			restarted := startChild(t, cfg)
			if restarted.addr != victim.addr {
				t.Errorf("address after the restart = %s, want %s", restarted.addr, victim.addr)
			}
			stored := readAll(t, restarted.addr, "events", partitions)
			lost := 0
			for key := range acked {
				if len(stored[key]) == 0 {
					lost++
				}
			}
			if lost > 0 {
				t.Errorf("%d of %d acknowledged messages are lost", lost, len(acked))
			}
			t.Logf("acknowledged %d, stored %d", len(acked), len(stored))
		})
	}
}

func TestSecondOwnerOfADirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	owner := startChild(t, broker.Config{DataDir: dir})

	_, err := broker.Start(t.Context(), broker.Config{DataDir: dir})
	if !errors.Is(err, broker.ErrLocked) {
		t.Fatalf("second start = %v, want ErrLocked", err)
	}
	owner.kill9(t)
	testkit.StartEmbedded(t, broker.Config{DataDir: dir}) // the lock died with its owner
}

func TestDirectoryIsFreeAfterStop(t *testing.T) {
	cfg := broker.Config{DataDir: t.TempDir(), Addr: freeAddr(t)}
	for range 2 {
		b, err := broker.Start(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Addrs(); len(got) != 1 || got[0] != cfg.Addr {
			t.Errorf("addresses = %v, want %s", got, cfg.Addr)
		}
		for range 2 { // stopping twice is harmless
			if err := b.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestChildEndsWithItsParentsPipe(t *testing.T) {
	c := startChild(t, broker.Config{DataDir: t.TempDir()})
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("child ended with %v, want a clean exit", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("child outlives its parent's pipe")
	}
}

func TestCommittedOffsetsAndTopicsSurviveARestart(t *testing.T) {
	cfg := broker.Config{DataDir: t.TempDir(), Addr: freeAddr(t)}
	first := startChild(t, cfg)
	cl := client(t, first.addr, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("events"), kgo.DisableAutoCommit())
	createTopic(t, cl, "events", 1, nil)
	for range 5 {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "events", Value: []byte("v")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for got := 0; got < 5; {
		got += cl.PollFetches(t.Context()).NumRecords()
	}
	if err := cl.CommitUncommittedOffsets(t.Context()); err != nil {
		t.Fatal(err)
	}
	first.kill9(t)
	cl.CloseAllowingRebalance()

	second := startChild(t, cfg)
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = "g"
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = "g"
	rt := kmsg.NewOffsetFetchRequestGroupTopic()
	rt.Topic, rt.Partitions = "events", []int32{0}
	group.Topics = append(group.Topics, rt)
	req.Groups = append(req.Groups, group)
	other := client(t, second.addr)
	res, err := req.RequestWith(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if got := res.Groups[0].Topics[0].Partitions[0].Offset; got != 5 {
		t.Errorf("committed offset after kill -9 = %d, want 5", got)
	}
}

func TestRetentionRemovesOldRecords(t *testing.T) {
	b := testkit.StartEmbedded(t, broker.Config{DataDir: t.TempDir()})
	cl := client(t, b.Addrs()[0])
	createTopic(t, cl, "events", 1, map[string]string{"cleanup.policy": "delete", "retention.ms": "3600000"})

	old := time.Now().Add(-2 * time.Hour)
	for i := range 3 {
		rec := &kgo.Record{Topic: "events", Key: []byte("old" + strconv.Itoa(i)), Timestamp: old}
		if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "events", Key: []byte("new")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 10*time.Second, func() bool { return listOffset(t, cl, "events", 0, -2) == 3 })
	got := readAll(t, b.Addrs()[0], "events", 1)
	if len(got) != 1 || got["new"] == nil {
		t.Errorf("records after retention = %v, want the new one alone", got)
	}
}

func TestCompactionKeepsTheLatestValueOfAKeyAlsoAfterARestart(t *testing.T) {
	cfg := broker.Config{DataDir: t.TempDir(), Addr: freeAddr(t)}
	cfg.CleanerInterval = 100 * time.Millisecond
	b := testkit.StartEmbedded(t, cfg)
	cl := client(t, b.Addrs()[0])
	createTopic(t, cl, "state", 1, map[string]string{"cleanup.policy": "compact"})
	for i := range 20 {
		rec := &kgo.Record{Topic: "state", Key: []byte("k" + strconv.Itoa(i%2)), Value: []byte(strconv.Itoa(i))}
		if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	compacted := func() bool {
		got := readAll(t, cfg.Addr, "state", 1)
		return len(got["k0"]) == 1 && got["k0"][0] == "18" && got["k1"][len(got["k1"])-1] == "19" && len(got["k1"]) <= 2
	}
	testkit.Eventually(t, 10*time.Second, compacted)
	if err := b.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.StartEmbedded(t, cfg)
	if !compacted() {
		t.Error("the compacted log changed with a restart")
	}
}

func TestConfigurationIsRefused(t *testing.T) {
	for name, cfg := range map[string]broker.Config{
		"without a directory":      {},
		"on all interfaces":        {DataDir: t.TempDir(), Addr: "0.0.0.0:0"},
		"on a host name":           {DataDir: t.TempDir(), Addr: "localhost:9092"},
		"with a negative interval": {DataDir: t.TempDir(), CleanerInterval: -time.Second},
		"in a file":                {DataDir: filepath.Join(os.Args[0], "data")},
	} {
		t.Run(name, func(t *testing.T) {
			if b, err := broker.Start(t.Context(), cfg); err == nil {
				_ = b.Stop(t.Context())
				t.Error("start succeeded")
			}
		})
	}
}

func TestReadReadyRefusesWhatIsNotAReadyLine(t *testing.T) {
	for _, in := range []string{"", "{}\n", "panic: no\n", `{"addrs":["127.0.0.1:1"]}`, strings.Repeat("x", 9000) + "\n"} {
		if addrs, err := broker.ReadReady(bufio.NewReader(strings.NewReader(in))); err == nil {
			t.Errorf("ReadReady(%.20q) = %v, want an error", in, addrs)
		}
	}
}

func FuzzReadReady(f *testing.F) {
	f.Add([]byte("{\"addrs\":[\"127.0.0.1:9092\"]}\n"))
	f.Add([]byte("{\"addrs\":null}\n"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if addrs, err := broker.ReadReady(bytes.NewReader(line)); (err == nil) != (len(addrs) > 0) {
			t.Errorf("ReadReady = %v, %v: want addresses or an error", addrs, err)
		}
	})
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
