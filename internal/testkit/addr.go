package testkit

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// Ports that a test names and takes again after a restart lie below those that systems give to whoever asks for any: in
// the meantime no other connection or test is given one of them by chance.
const (
	firstPort = 20_000
	lastPort  = 30_000
)

// Addrs are loopback addresses, host:port, on which nobody listens.
func Addrs(t testing.TB, n int) []string {
	t.Helper()
	ports, err := freePorts(n)
	if err != nil {
		t.Fatal(err)
	}
	addrs := make([]string, n)
	for i, port := range ports {
		addrs[i] = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	}
	return addrs
}

// freePorts are ports that nobody listens on.
func freePorts(n int) (ports []int, err error) {
	for tries := 0; len(ports) < n; tries++ {
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, lerr := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if lerr != nil {
			if tries < 100*n {
				continue
			}
			return nil, lerr
		}
		defer func() { _ = l.Close() }() // held until the end, so that the ports differ
		ports = append(ports, port)
	}
	return ports, nil
}
