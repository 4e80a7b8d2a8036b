package query_test

import (
	"testing"

	"github.com/sekisho/sekisho/internal/testkit"
)

func TestZZDebug(t *testing.T) {
	db := testkit.ClickHouse(t)
	d := guarded(t, db)
	status, body := d.get(d.key, "/v1/reports/overview?filter=path:/"+safe)
	t.Log(status, body, d.log.String())
}
