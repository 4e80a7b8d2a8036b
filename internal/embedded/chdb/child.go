package chdb

import "syscall"

// childAttributes keep a terminal's Ctrl-C from the child: the parent stops it in order. The child itself ends when
// its standard input closes, so it does not outlive a parent that was killed.
func childAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
