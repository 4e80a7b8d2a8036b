package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/sekisho/sekisho/internal/embedded/broker"
	"github.com/sekisho/sekisho/internal/kafka"
	"github.com/sekisho/sekisho/internal/testkit"
)

func TestAChangedConfigurationChangesTheTopic(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		c := open(t, addr)
		admin := kafka.NewAdmin(c)
		ctx := timeout(t, 60*time.Second)
		topic := kafka.Topic{Name: newTopic(t), Partitions: 1, ReplicationFactor: 1, Config: map[string]string{
			"cleanup.policy": "delete", "retention.ms": "86400000", "max.message.bytes": "500000",
		}}
		if err := admin.EnsureTopics(ctx, []kafka.Topic{topic}); err != nil {
			t.Fatal(err)
		}
		p := producer(t, c, kafka.ProducerConfig{Topic: topic.Name})
		written := time.Now().Add(-2 * time.Hour).Truncate(time.Millisecond)
		produce(t, p, kafka.Message{Value: []byte("old"), Time: written})
		if oldest, err := admin.Oldest(ctx, topic.Name); err != nil || !oldest.Equal(written) {
			t.Fatalf("oldest record %v, %v; want %v", oldest, err, written)
		}

		topic.Config = map[string]string{"cleanup.policy": "delete", "retention.ms": "3600000", "segment.ms": "600000"}
		for range 2 {
			if err := admin.EnsureTopics(ctx, []kafka.Topic{topic}); err != nil {
				t.Fatal(err)
			}
		}
		held, err := kafka.NewAdmin(open(t, addr)).Settings(ctx, topic.Name, "retention.ms", "segment.ms", "max.message.bytes")
		if err != nil || held["retention.ms"] != "3600000" || held["segment.ms"] != "600000" || held["max.message.bytes"] != "500000" {
			t.Errorf("settings %v, %v", held, err)
		}
		// And the broker acts on it.
		testkit.Eventually(t, 30*time.Second, func() bool {
			oldest, err := admin.Oldest(ctx, topic.Name)
			if err != nil {
				t.Fatal(err)
			}
			return oldest.IsZero()
		})
	})
}

func TestAChangedTopicStaysChangedOverARestartOfTheEmbeddedBroker(t *testing.T) {
	dir := t.TempDir()
	ctx := timeout(t, 30*time.Second)
	b, err := broker.Start(ctx, broker.Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	topic := kafka.Topic{Name: "events", Partitions: 1, ReplicationFactor: 1, Config: map[string]string{"cleanup.policy": "delete", "retention.ms": "86400000"}}
	for _, keep := range []string{"86400000", "3600000"} {
		topic.Config["retention.ms"] = keep
		if err := kafka.NewAdmin(open(t, b.Addrs()[0])).EnsureTopics(ctx, []kafka.Topic{topic}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Stop(context.WithoutCancel(ctx)); err != nil {
		t.Fatal(err)
	}
	b = testkit.StartEmbedded(t, broker.Config{DataDir: dir})
	held, err := kafka.NewAdmin(open(t, b.Addrs()[0])).Settings(ctx, topic.Name, "retention.ms")
	if err != nil || held["retention.ms"] != "3600000" {
		t.Errorf("settings %v, %v", held, err)
	}
}

func TestTheOldestRecordOfATopicIsLookedForInEveryPartition(t *testing.T) {
	testkit.Brokers(t, func(t *testing.T, addr string) {
		c := open(t, addr)
		admin := kafka.NewAdmin(c)
		ctx := timeout(t, 30*time.Second)
		topic := create(t, c, 3, nil)
		if oldest, err := admin.Oldest(ctx, topic); err != nil || !oldest.IsZero() {
			t.Errorf("the oldest record of an empty topic is of %v, %v", oldest, err)
		}
		p := producer(t, c, kafka.ProducerConfig{Topic: topic})
		now := time.Now().Truncate(time.Millisecond)
		for i, minutes := range []int{3, 9, 1} {
			produce(t, p, kafka.Message{Partition: i, Value: []byte("v"), Time: now.Add(-time.Duration(minutes) * time.Minute)})
			produce(t, p, kafka.Message{Partition: i, Value: []byte("v"), Time: now})
		}
		if oldest, err := admin.Oldest(ctx, topic); err != nil || !oldest.Equal(now.Add(-9*time.Minute)) {
			t.Errorf("the oldest record is of %v, %v", oldest, err)
		}
	})
}
