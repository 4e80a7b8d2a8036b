package testkit

import (
	"os/exec"
	"testing"
)

// Program is the path of a program that the test drives. Where it is not installed the test is skipped, and fails in CI;
// `make setup` installs it.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name+" is not installed: run `make setup`")
	}
	return path
}
