//go:build !linux

package testkit

import "syscall"

// dieWithParent has no counterpart here: the test's cleanup ends the child, and a killed test may leave it behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
