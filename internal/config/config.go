// Package config is the one place that says what can be configured. Precedence: flag, environment, file, default.
// Secrets have no default and are never printed.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// Config is everything. The tags are kong's (github.com/alecthomas/kong).
type Config struct {
	Data  string `help:"Directory of data, keys and spool." default:"data" env:"SEKISHO_DATA" type:"path"`
	Sites string `help:"Site registry (YAML). Empty: the built-in sample site." env:"SEKISHO_SITES" type:"path"`
	// Policies are read when a process starts.
	Policies string `help:"Directory of policy packs, <id>/<date>.yaml. Empty: those that ship with the program." env:"SEKISHO_POLICIES" type:"path" placeholder:"DIR"`

	Log       Log       `embed:"" prefix:"log-" envprefix:"SEKISHO_LOG_"`
	Kafka     Kafka     `embed:"" envprefix:"SEKISHO_"`
	Store     Store     `embed:""`
	Collector Collector `embed:"" prefix:"collector-" envprefix:"SEKISHO_COLLECTOR_"`
	Pipeline  Pipeline  `embed:"" prefix:"pipeline-" envprefix:"SEKISHO_PIPELINE_"`
	Query     Query     `embed:"" prefix:"query-" envprefix:"SEKISHO_QUERY_"`
	Sample    Sample    `embed:"" prefix:"sample-" envprefix:"SEKISHO_SAMPLE_"`
	Geo       Geo       `embed:"" prefix:"geo-" envprefix:"SEKISHO_GEO_"`
}

// Log says how to log.
type Log struct {
	Level  string `help:"debug, info, warn or error." default:"info" enum:"debug,info,warn,error" env:"LEVEL"`
	Format string `help:"text or json." default:"text" enum:"text,json" env:"FORMAT"`
}

// Kafka says where the event log is.
type Kafka struct {
	Brokers     []string      `name:"kafka" help:"Bootstrap addresses, host:port. None: the embedded broker." placeholder:"HOST:PORT" env:"KAFKA"`
	Addr        string        `name:"kafka-addr" help:"Address of the embedded broker." default:"127.0.0.1:9092" env:"KAFKA_ADDR"`
	Partitions  int           `name:"kafka-partitions" help:"Partitions of the events topic when it is made." default:"4" env:"KAFKA_PARTITIONS"`
	Replication int           `name:"kafka-replication" help:"Replicas of each topic when it is made." default:"1" env:"KAFKA_REPLICATION"`
	Retention   time.Duration `name:"kafka-retention" help:"How long sealed events stay in Kafka. At most the retention of ip_address in the policy." default:"168h" env:"KAFKA_RETENTION"`
	Prefix      string        `name:"kafka-prefix" help:"Prefix of topic names." default:"sekisho" env:"KAFKA_PREFIX"`
	User        string        `name:"kafka-user" help:"SASL user." env:"KAFKA_USER"`
	Password    Secret        `name:"kafka-password" help:"SASL password." env:"KAFKA_PASSWORD"`
	Mechanism   string        `name:"kafka-mechanism" help:"SASL mechanism." default:"SCRAM-SHA-512" enum:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" env:"KAFKA_MECHANISM"`
	TLS         bool          `name:"kafka-tls" help:"Use TLS." env:"KAFKA_TLS"`
}

// Store says where ClickHouse is.
type Store struct {
	ClickHouse Secret `name:"clickhouse" help:"DSN, clickhouse://user:password@host:9000/database. None: the embedded engine." placeholder:"DSN" env:"SEKISHO_CLICKHOUSE"`
	Addr       string `name:"clickhouse-addr" help:"Address of the embedded engine." default:"127.0.0.1:8123" env:"SEKISHO_CLICKHOUSE_ADDR"`
	Library    string `name:"clickhouse-library" help:"Path of libchdb. Empty: fetch the pinned one." env:"SEKISHO_CLICKHOUSE_LIBRARY" type:"path"`
	Memory     int64  `name:"clickhouse-memory" help:"Memory limit of the embedded engine, bytes." default:"2147483648" env:"SEKISHO_CLICKHOUSE_MEMORY"`
}

// Collector is the edge.
type Collector struct {
	Addr           string   `help:"Address to listen on." default:"127.0.0.1:8080" env:"ADDR"`
	MetricsAddr    string   `help:"Internal address of its metrics." default:"127.0.0.1:8083" env:"METRICS_ADDR"`
	URL            string   `help:"Public URL of the collector, for the pages of the sample site." default:"http://localhost:8080" env:"URL"`
	TrustedProxies []string `help:"Proxies whose forwarding header is believed (CIDR)." env:"TRUSTED_PROXIES" placeholder:"CIDR"`
	PublicKey      string   `help:"File with the pipeline's public key. Empty: the one in the data directory." env:"PUBLIC_KEY" type:"path"`
	PipelineURL    string   `help:"Internal URL of the pipeline." default:"http://127.0.0.1:8081" env:"PIPELINE_URL"`
	SpoolBytes     int64    `help:"Limit of the spool on disk, bytes." default:"1073741824" env:"SPOOL_BYTES"`
	Rate           float64  `help:"Requests a second and source." default:"50" env:"RATE"`
	Burst          int      `help:"Requests at once and source." default:"200" env:"BURST"`
}

// Pipeline is the checkpoint.
type Pipeline struct {
	Addr          string        `help:"Internal address (state look-ups, metrics)." default:"127.0.0.1:8081" env:"ADDR"`
	FlushInterval time.Duration `help:"How long a batch waits for more." default:"300ms" env:"FLUSH_INTERVAL"`
	Ledger        bool          `help:"Keep the proof ledger in this process. Exactly one pipeline of a deployment does." default:"true" negatable:"" env:"LEDGER"`
	LedgerName    string        `help:"Origin of the proof ledger: a name of yours that no other ledger has, as a host name." default:"sekisho.local/ledger" env:"LEDGER_NAME"`
}

// Query is the reading side.
type Query struct {
	Addr          string        `help:"Address to listen on." default:"127.0.0.1:8082" env:"ADDR"`
	MetricsAddr   string        `help:"Internal address of its metrics." default:"127.0.0.1:8084" env:"METRICS_ADDR"`
	Grants        string        `help:"File of API keys and grants. Empty: grants.json in the data directory." env:"GRANTS" type:"path"`
	Access        string        `help:"File of OpenID Connect issuers and what their claims grant. Empty: API keys only." env:"ACCESS" type:"path" placeholder:"FILE"`
	Policies      string        `help:"File of Cedar policies that say who may read what. Empty: those that ship with the program." env:"POLICIES" type:"path" placeholder:"FILE"`
	Threshold     int           `help:"Groups with fewer subjects are withheld." default:"10" env:"THRESHOLD"`
	FineThreshold int           `help:"The same for what tells more of where somebody is than the country. 0: five times the threshold." default:"0" env:"FINE_THRESHOLD"`
	Origin        string        `help:"Where browsers reach the report page, such as https://reports.example, when a proxy tells another host." env:"ORIGIN"`
	Timeout       time.Duration `help:"Limit of one report." default:"30s" env:"TIMEOUT"`
	Memory        int64         `help:"Memory limit of each statement of a report, bytes." default:"1073741824" env:"MEMORY"`
	Exact         bool          `help:"Tell numbers without noise. Whoever knows all but one person can then find out about that one." env:"EXACT"`
	DayEpsilon    string        `help:"What differentially private releases may spend of epsilon on one day of the data, for each site and purpose." default:"1" env:"DAY_EPSILON"`
	DayDelta      string        `help:"The same of delta." default:"0.000001" env:"DAY_DELTA"`
}

// Sample is the sample site that "sekisho up" serves.
type Sample struct {
	Addr string `help:"Address of the sample site." default:"127.0.0.1:8090" env:"ADDR"`
}

// Geo is where addresses are looked up.
type Geo struct {
	Database string `help:"GeoLite2/GeoIP2 file. Empty: built once from a public-domain list." env:"DATABASE" type:"path"`
}

// Secret is a string that prints as redacted.
type Secret string

const redacted = "[redacted]"

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return s.String() }

// MarshalText implements encoding.TextMarshaler, so that printing the configuration redacts.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Reveal is the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Topic is a topic's name: events, consent or dead-letters.
func (c *Config) Topic(name string) string { return c.Kafka.Prefix + "." + name }

// Path is a path in the data directory.
func (c *Config) Path(elements ...string) string {
	return filepath.Join(append([]string{c.Data}, elements...)...)
}

// Validate lists every fault at once.
func (c *Config) Validate() error {
	var faults []error
	check := func(ok bool, name, problem string) {
		if !ok {
			faults = append(faults, fmt.Errorf("%s: %s", name, problem))
		}
	}
	for name, addr := range map[string]string{
		"kafka-addr": c.Kafka.Addr, "clickhouse-addr": c.Store.Addr, "collector-addr": c.Collector.Addr,
		"collector-metrics-addr": c.Collector.MetricsAddr, "pipeline-addr": c.Pipeline.Addr, "query-addr": c.Query.Addr,
		"query-metrics-addr": c.Query.MetricsAddr, "sample-addr": c.Sample.Addr,
	} {
		_, _, err := net.SplitHostPort(addr)
		check(err == nil, name, "not host:port")
	}
	for name, addr := range map[string]string{"kafka-addr": c.Kafka.Addr, "clickhouse-addr": c.Store.Addr} {
		host, _, _ := net.SplitHostPort(addr)
		ip, err := netip.ParseAddr(host)
		check(host == "localhost" || err == nil && ip.IsLoopback(), name, "an embedded engine has no users, so it listens on loopback only")
	}
	for _, b := range c.Kafka.Brokers {
		_, _, err := net.SplitHostPort(b)
		check(err == nil, "kafka", "not host:port")
	}
	for _, p := range c.Collector.TrustedProxies {
		_, err := netip.ParsePrefix(p)
		check(err == nil, "collector-trusted-proxies", "not CIDR")
	}
	for name, raw := range map[string]string{"collector-url": c.Collector.URL, "collector-pipeline-url": c.Collector.PipelineURL} {
		u, err := url.Parse(raw)
		check(err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "", name, "not an http or https URL")
	}
	check(c.Kafka.Partitions >= 1 && c.Kafka.Partitions <= 10_000, "kafka-partitions", "not between 1 and 10000")
	check(c.Kafka.Replication >= 1, "kafka-replication", "less than 1")
	check(c.Kafka.Retention > 0, "kafka-retention", "not positive")
	check(c.Kafka.Prefix != "", "kafka-prefix", "empty")
	check(c.Kafka.User == "" || c.Kafka.Password != "", "kafka-password", "missing")
	check(c.Collector.SpoolBytes > 0, "collector-spool-bytes", "not positive")
	check(c.Collector.Rate > 0 && c.Collector.Burst > 0, "collector-rate", "rate and burst must be positive")
	check(c.Pipeline.FlushInterval > 0, "pipeline-flush-interval", "not positive")
	check(c.Query.Threshold >= 2, "query-threshold", "less than 2 singles people out")
	check(c.Query.FineThreshold == 0 || c.Query.FineThreshold >= c.Query.Threshold, "query-fine-threshold", "less than query-threshold")
	check(c.Query.Timeout > 0, "query-timeout", "not positive")
	check(c.Query.Memory > 0, "query-memory", "not positive")
	for name, file := range map[string]string{"sites": c.Sites, "query-access": c.Query.Access, "query-policies": c.Query.Policies} {
		if file != "" {
			_, err := os.Stat(file)
			check(err == nil, name, "cannot be read")
		}
	}
	return errors.Join(faults...)
}
