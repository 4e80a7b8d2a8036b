package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	kafkago "github.com/segmentio/kafka-go"
)

// Topic is a topic as it is meant to be.
type Topic struct {
	Name              string
	Partitions        int
	ReplicationFactor int
	// Config holds Kafka's topic settings. Name cleanup.policy and retention.ms explicitly: the embedded broker
	// applies neither to a topic that does not. Settings that are not named are left as they are.
	Config map[string]string
}

// Admin creates topics and keeps their settings.
type Admin struct{ c *Cluster }

// NewAdmin returns the administrator of a cluster.
func NewAdmin(c *Cluster) *Admin { return &Admin{c: c} }

// EnsureTopics creates the topics that are missing, brings the settings of those that are there in line, and returns
// when each has a leader for every partition. It is idempotent and safe to run from several processes at once. An
// existing topic with another partition count gives ErrPartitionCount. It asks for the right to describe topic settings,
// and for that to alter them only when they differ. ctx bounds the waiting.
func (a *Admin) EnsureTopics(ctx context.Context, topics []Topic) error {
	for _, t := range topics {
		if t.Name == "" || t.Partitions < 1 || t.ReplicationFactor < 1 {
			return fmt.Errorf("ensure topic %q: name, partitions and replication factor are required", t.Name)
		}
	}
	for _, t := range topics {
		if err := a.c.retry(ctx, func(ctx context.Context) error { return a.ensure(ctx, t) }); err != nil {
			return classify(fmt.Errorf("ensure topic %s: %w", t.Name, err))
		}
	}
	return nil
}

func (a *Admin) ensure(ctx context.Context, t Topic) error {
	n, err := a.c.partitions(ctx, t.Name)
	if errors.Is(err, ErrUnknownTopic) {
		if err := a.create(ctx, t); err != nil {
			return err
		}
		n, err = a.c.partitions(ctx, t.Name)
	}
	if err != nil {
		return err
	}
	if n != t.Partitions {
		return fmt.Errorf("%w: %d, not %d", ErrPartitionCount, n, t.Partitions)
	}
	return a.configure(ctx, t)
}

// configure sets the settings of a topic that differ.
func (a *Admin) configure(ctx context.Context, t Topic) error {
	if len(t.Config) == 0 {
		return nil
	}
	names := slices.Sorted(maps.Keys(t.Config))
	held, err := a.settings(ctx, t.Name, names)
	if err != nil {
		return err
	}
	var changes []kafkago.IncrementalAlterConfigsRequestConfig
	for _, name := range names {
		if value, ok := held[name]; !ok || value != t.Config[name] {
			changes = append(changes, kafkago.IncrementalAlterConfigsRequestConfig{
				Name: name, Value: t.Config[name], ConfigOperation: kafkago.ConfigOperationSet,
			})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	res, err := a.c.client.IncrementalAlterConfigs(ctx, &kafkago.IncrementalAlterConfigsRequest{
		Resources: []kafkago.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafkago.ResourceTypeTopic, ResourceName: t.Name, Configs: changes,
		}},
	})
	if err != nil {
		return err
	}
	for _, r := range res.Resources {
		if r.Error != nil {
			return fmt.Errorf("set topic settings: %w", quiet(r.Error))
		}
	}
	return nil
}

// settings reads settings of a topic by name.
func (a *Admin) settings(ctx context.Context, topic string, names []string) (map[string]string, error) {
	res, err := a.c.client.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{
		Resources: []kafkago.DescribeConfigRequestResource{{
			ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic, ConfigNames: names,
		}},
	})
	if err != nil {
		return nil, err
	}
	held := map[string]string{}
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, fmt.Errorf("read topic settings: %w", quiet(r.Error))
		}
		for _, e := range r.ConfigEntries {
			held[e.ConfigName] = e.ConfigValue
		}
	}
	return held, nil
}

// Settings reads settings of a topic by name. A setting that the broker does not know is absent.
func (a *Admin) Settings(ctx context.Context, topic string, names ...string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, a.c.cfg.RequestTimeout)
	defer cancel()
	var held map[string]string
	err := a.c.retry(ctx, func(ctx context.Context) error {
		var err error
		held, err = a.settings(ctx, topic, names)
		return err
	})
	if err != nil {
		return nil, classify(fmt.Errorf("read settings of %s: %w", topic, err))
	}
	return held, nil
}

func (a *Admin) create(ctx context.Context, t Topic) error {
	entries := make([]kafkago.ConfigEntry, 0, len(t.Config))
	for _, name := range slices.Sorted(maps.Keys(t.Config)) {
		entries = append(entries, kafkago.ConfigEntry{ConfigName: name, ConfigValue: t.Config[name]})
	}
	res, err := a.c.client.CreateTopics(ctx, &kafkago.CreateTopicsRequest{Topics: []kafkago.TopicConfig{{
		Topic:             t.Name,
		NumPartitions:     t.Partitions,
		ReplicationFactor: t.ReplicationFactor,
		ConfigEntries:     entries,
	}}})
	if err != nil {
		return err
	}
	if err := res.Errors[t.Name]; err != nil && !errors.Is(err, kafkago.TopicAlreadyExists) {
		return err
	}
	return nil
}

// Partitions is the partition count of a topic. An absent topic gives ErrUnknownTopic, after a second look: the routing
// may be older than the topic. An absent broker is waited for until ctx or the request timeout ends.
func (a *Admin) Partitions(ctx context.Context, topic string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, a.c.cfg.RequestTimeout)
	defer cancel()
	var n int
	absent := 0
	err := a.c.retry(ctx, func(ctx context.Context) error {
		var err error
		n, err = a.c.partitions(ctx, topic)
		if errors.Is(err, ErrUnknownTopic) {
			if absent++; absent > 3 {
				return nil
			}
		}
		return err
	})
	if err == nil && n == 0 {
		err = ErrUnknownTopic
	}
	if err != nil {
		return 0, classify(fmt.Errorf("count partitions of %s: %w", topic, err))
	}
	return n, nil
}
