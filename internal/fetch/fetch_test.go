package fetch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

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
