// Package fetch brings the parts that a repository should not hold: published npm packages, pinned by version and by
// the SHA-512 in this program's source. Where they come from is npm's configuration; what they are is ours.
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
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/sekisho/sekisho/internal/embedded/claim"
)

// NPM is a pinned npm package.
type NPM struct {
	Name      string
	Version   string
	Integrity string // base64 of the tarball's SHA-512, as in a lock file after "sha512-"
}

// libraries are the published builds of libchdb (Apache-2.0), by GOOS/GOARCH.
var libraries = map[string]NPM{
	"linux/amd64": {"@chdb/lib-linux-x64-gnu", "26.7.3-stable.1", "XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw=="},
}

// Library returns the path of the pinned libchdb for this machine, fetching it once into the cache.
func Library(ctx context.Context, cache string, progress io.Writer) (string, error) {
	pkg, ok := libraries[runtime.GOOS+"/"+runtime.GOARCH]
	if !ok {
		return "", fmt.Errorf("fetch libchdb: no build is pinned for %s/%s; name a ClickHouse server instead", runtime.GOOS, runtime.GOARCH)
	}
	return File(ctx, cache, pkg, "package/libchdb.so", progress)
}

// CacheDir is where fetched parts live: SEKISHO_CACHE, the repository's .cache when there is one above the working
// directory, or the user's cache.
func CacheDir() string {
	if dir := os.Getenv("SEKISHO_CACHE"); dir != "" {
		return dir
	}
	if wd, err := os.Getwd(); err == nil {
		for dir := wd; ; dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				return filepath.Join(dir, ".cache")
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "sekisho")
}

// patience is how long one process waits while another fetches the same package.
const patience = time.Hour

// File returns the path of one member of a pinned package, fetching the package when the cache has it not. What is in
// the cache was verified before it got its name. Of several processes that ask at once one fetches, and the others wait
// for it; when it is killed, the next goes on where it stopped.
func File(ctx context.Context, cache string, pkg NPM, member string, progress io.Writer) (string, error) {
	dir := filepath.Join(cache, "npm", strings.ReplaceAll(strings.TrimPrefix(pkg.Name, "@"), "/", "-")+"-"+pkg.Version)
	target := filepath.Join(dir, path.Base(member))
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("fetch %s: %w", pkg.Name, err)
	}
	lock, err := claim.File(ctx, filepath.Join(dir, "fetch.lock"), patience, func() {
		fmt.Fprintf(progress, "another process fetches %s %s, waiting for it\n", pkg.Name, pkg.Version)
	})
	if err != nil {
		return "", fmt.Errorf("fetch %s: lock cache: %w", pkg.Name, err)
	}
	defer func() { _ = lock.Close() }() // the end of the process would do it too
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if err := sweep(dir); err != nil {
		return "", fmt.Errorf("fetch %s: %w", pkg.Name, err)
	}
	url, err := tarball(ctx, pkg)
	if err != nil {
		return "", fmt.Errorf("fetch %s@%s: %w", pkg.Name, pkg.Version, err)
	}
	part := filepath.Join(dir, "package.tgz.part")
	fmt.Fprintf(progress, "fetching %s %s\n", pkg.Name, pkg.Version)
	if err := download(ctx, url, part, progress); err != nil {
		return "", fmt.Errorf("fetch %s@%s: %w", pkg.Name, pkg.Version, err)
	}
	if err := verify(part, pkg.Integrity); err != nil {
		return "", errors.Join(fmt.Errorf("fetch %s@%s: %w", pkg.Name, pkg.Version, err), os.Remove(part))
	}
	if err := extract(part, member, target); err != nil {
		return "", fmt.Errorf("unpack %s: %w", pkg.Name, err)
	}
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("unpack %s: %w", pkg.Name, err)
	}
	return target, nil
}

// unpacking begins the names of files that are not whole yet.
const unpacking = ".new-"

// sweep removes what a process that was killed while it unpacked has left.
func sweep(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, unpacking+"*"))
	for _, name := range left {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// tarball asks npm where the package is.
func tarball(ctx context.Context, pkg NPM) (string, error) {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", errors.New("npm is not installed")
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, npm, "view", "--loglevel=error", pkg.Name+"@"+pkg.Version, "dist.tarball")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask npm: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	url := strings.TrimSpace(string(out))
	if !strings.HasPrefix(url, "http") {
		return "", errors.New("ask npm: it named no tarball")
	}
	return url, nil
}

// download brings a file, going on where an earlier attempt stopped.
func download(ctx context.Context, url, part string, progress io.Writer) error {
	var err error
	for attempt := range 5 {
		if attempt > 0 {
			fmt.Fprintln(progress, "the connection broke, going on")
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Duration(attempt) * time.Second):
			}
		}
		var again bool
		if again, err = attemptDownload(ctx, url, part, progress); err == nil || !again {
			return err
		}
	}
	return err
}

func attemptDownload(ctx context.Context, url, part string, progress io.Writer) (again bool, err error) {
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // G302: a published package, shared by the users of the cache
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false, err
	}
	if have > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return true, errors.New("download: the connection failed")
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusPartialContent:
	case http.StatusRequestedRangeNotSatisfiable:
		return false, nil // all of it is there; the checksum will tell
	case http.StatusOK:
		have = 0
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return false, err
		}
		if err := f.Truncate(0); err != nil {
			return false, err
		}
	default:
		return res.StatusCode >= 500, fmt.Errorf("download: status %d", res.StatusCode)
	}
	meter := &meter{out: progress, have: have, total: have + res.ContentLength, began: time.Now()}
	if _, err := io.Copy(io.MultiWriter(f, meter), res.Body); err != nil {
		return true, errors.New("download: the connection broke")
	}
	meter.tell()
	return false, nil
}

// meter prints progress every two seconds.
type meter struct {
	out         io.Writer
	have, total int64
	began, told time.Time
	got         int64
}

func (m *meter) Write(b []byte) (int, error) {
	m.have += int64(len(b))
	m.got += int64(len(b))
	if time.Since(m.told) > 2*time.Second {
		m.tell()
	}
	return len(b), nil
}

func (m *meter) tell() {
	m.told = time.Now()
	const mb = 1 << 20
	rate := float64(m.got) / mb / max(time.Since(m.began).Seconds(), 0.001)
	fmt.Fprintf(m.out, "  %d of %d MB, %.1f MB/s\n", m.have/mb, max(m.total, m.have)/mb, rate)
}

// verify holds a file against its pinned SHA-512.
func verify(name, integrity string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	h := sha512.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	if base64.StdEncoding.EncodeToString(h.Sum(nil)) != integrity {
		return errors.New("the checksum is not the pinned one; nothing of it is used")
	}
	return nil
}

// extract writes one member of a gzipped tar beside its target and renames it into place.
func extract(archive, member, target string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return errors.New("the package has no such file")
		}
		if err != nil {
			return err
		}
		if header.Name != member {
			continue
		}
		tmp, err := os.CreateTemp(filepath.Dir(target), unpacking+"*")
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(tmp.Name()) }()
		_, err = io.Copy(tmp, t) //nolint:gosec // G110: the archive's checksum is pinned
		if err := errors.Join(err, tmp.Chmod(0o755), tmp.Close()); err != nil {
			return err
		}
		return os.Rename(tmp.Name(), target)
	}
}
