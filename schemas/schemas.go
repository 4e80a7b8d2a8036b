// Package schemas embeds every contract of Sekisho: the protobuf messages of Kafka, the JSON Schemas and OpenAPI
// documents of the HTTP APIs, the ClickHouse migrations
// and the policy packs.
package schemas

import "embed"

//go:generate go run ./gen

// ClickHouse holds the forward-only migrations, applied in the order of their numbers.
//
//go:embed clickhouse/*.sql
var ClickHouse embed.FS

// Policy holds the policy packs, policy/<id>/<date>.yaml.
//
//go:embed policy
var Policy embed.FS

// JSON holds the JSON Schemas of the policy pack and of the site registry.
//
//go:embed json/*.json
var JSON embed.FS

// OpenAPI holds the contracts of the two HTTP APIs.
//
//go:embed openapi/*.yaml
var OpenAPI embed.FS

// Access holds the policies about who may read what, and the schema of what they may speak of (Cedar).
//
//go:embed access
var Access embed.FS
