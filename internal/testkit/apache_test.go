package testkit

import (
	"net"
	"testing"
	"time"
)

func TestApacheKafkaStopsAndStartsAgainOnItsPort(t *testing.T) {
	a := StartApache(t)
	addr := a.Addr()
	if err := a.Stop(); err != nil {
		t.Fatal(err)
	}
	if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		_ = conn.Close()
		t.Fatal("the broker still listens after Stop")
	}
	if err := a.Start(t); err != nil {
		t.Fatal(err)
	}
	if a.Addr() != addr {
		t.Errorf("address = %s after a restart, want %s", a.Addr(), addr)
	}
}
