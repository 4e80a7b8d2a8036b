package testkit

import "syscall"

// dieWithParent makes a child process end with the test process, however that ends.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
