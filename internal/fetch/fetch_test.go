package fetch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Variables that make the test binary a process that fetches: cache directory and checksum.
const (
	fetchCache     = "SEKISHO_TEST_FETCH_CACHE"
	fetchIntegrity = "SEKISHO_TEST_FETCH_INTEGRITY"
)

func TestMain(m *testing.M) {
	if cache := os.Getenv(fetchCache); cache != "" {
		path, err := File(context.Background(), cache, NPM{"@a/b", "1.0.0", os.Getenv(fetchIntegrity)}, "package/file", os.Stderr)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Print(path)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func archive(t *testing.T) ([]byte, string) {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	content := bytes.Repeat([]byte("checkpoint "), 10_000)
	if err := w.WriteHeader(&tar.Header{Name: "package/file", Mode: 0o644, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := sha512.Sum512(b.Bytes())
	return b.Bytes(), base64.StdEncoding.EncodeToString(sum[:])
}

func TestADownloadGoesOnWhereItBroke(t *testing.T) {
	data, integrity := archive(t)
	var ranges []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range"))
		if len(ranges) == 1 { // promise all, send half
			w.Header().Set("Content-Length", strconv.Itoa(len(data)))
			_, _ = w.Write(data[:len(data)/2])
			return
		}
		http.ServeContent(w, r, "x", time.Time{}, bytes.NewReader(data))
	}))
	defer server.Close()
	part := filepath.Join(t.TempDir(), "part")
	if err := download(t.Context(), server.URL, part, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := verify(part, integrity); err != nil {
		t.Error(err)
	}
	if len(ranges) != 2 || ranges[1] != "bytes="+strconv.Itoa(len(data)/2)+"-" {
		t.Errorf("ranges %q", ranges)
	}
	target := filepath.Join(filepath.Dir(part), "file")
	if err := extract(part, "package/file", target); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(target); err != nil || len(got) != 110_000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestAWrongChecksumIsRefused(t *testing.T) {
	data, integrity := archive(t)
	part := filepath.Join(t.TempDir(), "part")
	data[len(data)/2]++
	if err := os.WriteFile(part, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := verify(part, integrity); err == nil || !strings.Contains(err.Error(), "checksum") {
		t.Errorf("error %v", err)
	}
}

// registry serves the archive, half of it at the first request, whose rest waits for release. It counts its requests.
type registry struct {
	*httptest.Server
	halfway, release chan struct{}

	mu     sync.Mutex
	ranges []string
}

func newRegistry(t *testing.T, data []byte) *registry {
	t.Helper()
	r := &registry{halfway: make(chan struct{}), release: make(chan struct{})}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.ranges = append(r.ranges, req.Header.Get("Range"))
		first := len(r.ranges) == 1
		r.mu.Unlock()
		if !first {
			http.ServeContent(w, req, "x", time.Time{}, bytes.NewReader(data))
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = w.Write(data[:len(data)/2])
		_ = http.NewResponseController(w).Flush()
		close(r.halfway)
		select {
		case <-r.release:
			_, _ = w.Write(data[len(data)/2:])
		case <-req.Context().Done():
		}
	}))
	t.Cleanup(r.Close)
	// npm is asked where the package is: one that knows this registry only.
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "npm"), []byte("#!/bin/sh\necho "+r.URL+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	return r
}

func (r *registry) asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ranges)
}

// fetcher is a process that fetches; said is what it told so far.
type fetcher struct {
	*exec.Cmd
	path bytes.Buffer

	mu   sync.Mutex
	said bytes.Buffer
}

// Write implements io.Writer for the process's standard error.
func (f *fetcher) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.said.Write(b)
}

func (f *fetcher) tells(text string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Contains(f.said.String(), text)
}

func startFetcher(t *testing.T, cache, integrity string) *fetcher {
	t.Helper()
	f := &fetcher{Cmd: exec.CommandContext(t.Context(), os.Args[0])}
	f.Env = append(os.Environ(), fetchCache+"="+cache, fetchIntegrity+"="+integrity)
	f.Stdout, f.Stderr = &f.path, f
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	return f
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within a minute", what)
		}
	}
}

// finish waits for a fetcher and looks at the file it names.
func (f *fetcher) finish(t *testing.T) {
	t.Helper()
	if err := f.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, f.said.String())
	}
	if got, err := os.ReadFile(f.path.String()); err != nil || len(got) != 110_000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestOfTwoProcessesOneFetches(t *testing.T) {
	data, integrity := archive(t)
	server, cache := newRegistry(t, data), t.TempDir()
	first := startFetcher(t, cache, integrity)
	<-server.halfway
	second := startFetcher(t, cache, integrity)
	await(t, "waiting", func() bool { return second.tells("another process fetches") })
	close(server.release)
	first.finish(t)
	second.finish(t)
	if got := server.asked(); len(got) != 1 {
		t.Errorf("%d requests, %q", len(got), got)
	}
}

func TestAKilledFetchIsTakenOver(t *testing.T) {
	data, integrity := archive(t)
	server, cache := newRegistry(t, data), t.TempDir()
	first := startFetcher(t, cache, integrity)
	<-server.halfway
	dir := filepath.Join(cache, "npm", "a-b-1.0.0")
	await(t, "half of the package", func() bool {
		info, err := os.Stat(filepath.Join(dir, "package.tgz.part"))
		return err == nil && info.Size() == int64(len(data)/2)
	})
	left := filepath.Join(dir, unpacking+"left") // as one that was killed while it unpacked leaves it
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	second := startFetcher(t, cache, integrity)
	await(t, "waiting", func() bool { return second.tells("another process fetches") })
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait() // it was killed
	second.finish(t)
	if got, want := server.asked(), []string{"", "bytes=" + strconv.Itoa(len(data)/2) + "-"}; !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was left is still there: %v", err)
	}
}
