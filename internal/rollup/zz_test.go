package rollup

import (
	"os"
	"testing"
)

func TestDump(t *testing.T) {
	p := map[string]string{"site": "bench", "policy": "default/", "policy_id": "default", "bit": "10", "time_zone": "Asia/Tokyo", "from": "1790866800000", "to": "1790953200000", "build": "7", "first": "2026-10-02", "last": "2026-10-02"}
	for i := range Kinds {
		_ = os.WriteFile("/tmp/rl/k_"+Kinds[i].Name+".sql", []byte(bind(Kinds[i].insert(), p)), 0o600)
	}
}
