package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func parse(t *testing.T, args ...string) *Config {
	t.Helper()
	var c Config
	parser, err := kong.New(&c, kong.Exit(func(int) { t.Fatal("exit") }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestTheDefaultsAreValid(t *testing.T) {
	if err := parse(t).Validate(); err != nil {
		t.Error(err)
	}
}

func TestFlagsBeatTheEnvironment(t *testing.T) {
	t.Setenv("SEKISHO_QUERY_THRESHOLD", "20")
	t.Setenv("SEKISHO_KAFKA", "kafka:9092")
	c := parse(t)
	if c.Query.Threshold != 20 || len(c.Kafka.Brokers) != 1 {
		t.Errorf("the environment is not read: %d %v", c.Query.Threshold, c.Kafka.Brokers)
	}
	if c := parse(t, "--query-threshold=30"); c.Query.Threshold != 30 {
		t.Errorf("threshold %d", c.Query.Threshold)
	}
}

func TestEveryFaultIsListedAtOnce(t *testing.T) {
	c := parse(t)
	c.Query.Threshold, c.Kafka.Partitions, c.Collector.URL, c.Store.Addr = 1, 0, "nowhere", "0.0.0.0:8123"
	c.Query.Access, c.Query.Policies = "nowhere.yaml", "nowhere.cedar"
	err := c.Validate()
	if err == nil {
		t.Fatal("it is valid")
	}
	for _, name := range []string{"query-threshold", "kafka-partitions", "collector-url", "clickhouse-addr", "query-access", "query-policies"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestASecretPrintsInNoWay(t *testing.T) {
	c := parse(t, "--clickhouse=clickhouse://u:hunter2@h:9000/d", "--kafka-user=u", "--kafka-password=hunter2")
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if printed := string(j) + fmt.Sprintf("%v %+v %#v", *c, *c, *c); strings.Contains(printed, "hunter2") {
		t.Error(printed)
	}
	if c.Kafka.Password.Reveal() != "hunter2" {
		t.Error("the secret is lost")
	}
}
