package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// connections that load a server at once.
const connections = 64

// beacon is an HTTP request for n page views, as the tracker sends them, up to the ids, which each sending makes new.
func beacon(addr string, n int) func(b *bytes.Buffer, sender int) {
	return func(b *bytes.Buffer, sender int) {
		var body bytes.Buffer
		body.WriteString(`{"site":"shop","sent_at":` + strconv.FormatInt(time.Now().UnixMilli(), 10) + `,"cookie_id":"bench-` + strconv.Itoa(sender) +
			`","env":{"language":"ja","screen":"1920x1080","viewport":"1280x720","connection":"4g","color_scheme":"dark","time_zone":"Asia/Tokyo"},"events":[`)
		for i := range n {
			if i > 0 {
				body.WriteByte(',')
			}
			body.WriteString(`{"id":"` + uuid.NewString() + `","type":"operation","time":` + strconv.FormatInt(time.Now().UnixMilli(), 10) +
				`,"url":"http://localhost:8090/ja/product/sencha-uji?utm_source=news&utm_medium=email","title":"Sencha","view_id":"0.6180339887","operation":{"name":"add_to_cart","target":"sencha-uji"}}`)
		}
		body.WriteString(`]}`)
		fmt.Fprintf(b, "POST /v1/events HTTP/1.1\r\nHost: %s\r\nOrigin: http://localhost:8090\r\nContent-Type: text/plain\r\nUser-Agent: %s\r\nContent-Length: %d\r\n\r\n", addr, agent, body.Len())
		b.Write(body.Bytes())
	}
}

const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"

// load sends requests over keep-alive connections for a while and returns how many a second were answered with the
// status. The client is a few lines over TCP, so that most of the machine is the server's.
func load(ctx context.Context, addr string, length time.Duration, want int, request func(*bytes.Buffer, int)) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	var (
		answered atomic.Int64
		senders  sync.WaitGroup
		mu       sync.Mutex
		failed   error
	)
	started := time.Now()
	for sender := range connections {
		senders.Go(func() {
			if err := hammer(ctx, addr, sender, want, request, &answered); err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
				cancel()
			}
		})
	}
	senders.Wait()
	return float64(answered.Load()) / time.Since(started).Seconds(), failed
}

func hammer(ctx context.Context, addr string, sender, want int, request func(*bytes.Buffer, int), answered *atomic.Int64) error {
	conn, err := new(net.Dialer).DialContext(context.WithoutCancel(ctx), "tcp", addr)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	defer conn.Close() //nolint:errcheck // nothing is left to send
	r := bufio.NewReader(conn)
	var b bytes.Buffer
	for ctx.Err() == nil {
		b.Reset()
		request(&b, sender)
		if _, err := conn.Write(b.Bytes()); err != nil {
			return fmt.Errorf("load: %w", err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return fmt.Errorf("load: %w", err)
		}
		_, err = io.Copy(io.Discard, res.Body)
		err = errors.Join(err, res.Body.Close())
		if err != nil || res.StatusCode != want {
			return fmt.Errorf("load: status %d, want %d: %w", res.StatusCode, want, err)
		}
		answered.Add(1)
	}
	return nil
}

// measureIntake loads reference and collector in turn, with the same requests.
func measureIntake(ctx context.Context, h *house, ref *reference, o options) error {
	fmt.Printf("\nevents accepted (durable: sealed, acknowledged by the broker), %d connections, median of %d rounds of %s, in turn\n", connections, o.rounds, o.round)
	fmt.Printf("  %-18s %14s %14s %14s %10s\n", "events a request", "Gin 204 req/s", "collector req/s", "events/s", "ratio")
	for _, n := range []int{1, 10, 100} {
		var bare, real []float64
		for round := range o.rounds + 1 {
			a, err := load(ctx, ref.addr, o.round, http.StatusNoContent, beacon(ref.addr, n))
			if err != nil {
				return err
			}
			b, err := load(ctx, h.collector, o.round, http.StatusAccepted, beacon(h.collector, n))
			if err != nil {
				return err
			}
			if round > 0 { // the first one warms both up
				bare, real = append(bare, a), append(real, b)
			}
			if err := h.drain(ctx); err != nil {
				return err
			}
		}
		a, b := median(bare), median(real)
		fmt.Printf("  %-18d %14.0f %14.0f %14.0f %9.2fx\n", n, a, b, b*float64(n), b/a)
	}
	return nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// measureFreshness sends one beacon after another and asks for the report until it shows it.
func measureFreshness(ctx context.Context, h *house, o options) error {
	send := func(visitor int) error {
		body := `{"site":"shop","type":"operation","id":"` + uuid.NewString() + `","operation":{"name":"fresh"}}`
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.collector+"/v1/events", strings.NewReader(body))
		if err != nil {
			return fmt.Errorf("send beacon: %w", err)
		}
		r.Header.Set("Origin", "http://localhost:8090")
		r.Header.Set("Content-Type", "text/plain")
		r.Header.Set("User-Agent", agent)
		r.Header.Set("X-Forwarded-For", fmt.Sprintf("198.51.100.%d", visitor))
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return fmt.Errorf("send beacon: %w", err)
		}
		defer res.Body.Close() //nolint:errcheck // not read
		if res.StatusCode != http.StatusAccepted {
			return fmt.Errorf("send beacon: status %d", res.StatusCode)
		}
		return nil
	}
	count := func() (int, error) {
		text, err := h.get(ctx, "http://"+h.query+"/v1/reports/operations?site=shop&purpose=customer_support&filter=operation:fresh")
		if err != nil {
			return 0, err
		}
		var answer struct{ Rows []struct{ Count int } }
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			return 0, fmt.Errorf("read report: %w", err)
		}
		if len(answer.Rows) == 0 {
			return 0, nil
		}
		return answer.Rows[0].Count, nil
	}
	wait := func(want int) error {
		for {
			n, err := count()
			if err != nil || n >= want {
				return err
			}
		}
	}
	for visitor := range 3 { // more subjects than the threshold
		if err := send(visitor); err != nil {
			return err
		}
	}
	if err := wait(3); err != nil {
		return err
	}
	var took []float64
	for i := range o.beacons {
		started := time.Now()
		if err := send(i % 3); err != nil {
			return err
		}
		if err := wait(4 + i); err != nil {
			return err
		}
		took = append(took, float64(time.Since(started).Milliseconds()))
	}
	slices.Sort(took)
	fmt.Printf("\nbeacon to report, %d beacons one after another: p50 %.0f ms, p99 %.0f ms\n", len(took), took[len(took)/2], took[len(took)*99/100])
	return nil
}

// printTracker prints the transfer size of each built script.
func printTracker(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.js"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("measure tracker: nothing is built in %s", dir)
	}
	fmt.Println("\nscripts, gzip -9")
	for _, f := range files {
		body, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("measure tracker: %w", err)
		}
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if err != nil {
			return fmt.Errorf("measure tracker: %w", err)
		}
		if _, err := w.Write(body); err != nil {
			return fmt.Errorf("measure tracker: %w", err)
		}
		if err := w.Close(); err != nil {
			return fmt.Errorf("measure tracker: %w", err)
		}
		fmt.Printf("  %-16s %6d bytes\n", filepath.Base(f), b.Len())
	}
	return nil
}
