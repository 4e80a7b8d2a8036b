// Package claim takes what one process of a machine has at a time: a file's lock, an address. A process that was killed
// lets go of both, though not in that instant: the next one may start while the kernel, or a child that has yet to notice,
// still holds them. So taking either waits, for a bounded time, and says so.
package claim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrTaken reports that another process still held it when the patience was over.
var ErrTaken = errors.New("in use by another process")

// poll is how often a claim is tried again.
const poll = 20 * time.Millisecond

// File locks a file, making it if need be, with mode 0600. Closing what is returned releases the lock, and so does the
// end of the process, however that comes; a child that inherits the descriptor holds it too. waiting, if not nil, is
// called once if it has to wait. The file stays: whoever removed it would let two processes lock two files of one name.
func File(ctx context.Context, path string, patience time.Duration, waiting func()) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = retry(ctx, patience, waiting, func() (taken bool, err error) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		return errors.Is(err, unix.EWOULDBLOCK) || errors.Is(err, unix.EINTR), err
	})
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Address listens on a TCP address. waiting is as in File.
func Address(ctx context.Context, addr string, patience time.Duration, waiting func()) (l net.Listener, err error) {
	err = retry(ctx, patience, waiting, func() (taken bool, err error) {
		l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		return errors.Is(err, syscall.EADDRINUSE), err
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

func retry(ctx context.Context, patience time.Duration, waiting func(), try func() (taken bool, err error)) error {
	for deadline, told := time.Now().Add(patience), false; ; {
		taken, err := try()
		if !taken {
			return err
		}
		if !time.Now().Before(deadline) {
			return fmt.Errorf("%w: %w", ErrTaken, err)
		}
		if !told && waiting != nil {
			waiting()
		}
		told = true
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrTaken, ctx.Err())
		case <-time.After(poll):
		}
	}
}
