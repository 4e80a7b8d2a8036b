package broker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// stopTimeout bounds the flush of a child whose parent asked it to end.
const stopTimeout = 20 * time.Second

// ready is the one line a child writes when it answers requests.
type ready struct {
	Addrs []string `json:"addrs"`
}

// RunChild runs the broker as the body of a child process, behind `sekisho engine-kafka`: it writes one line of JSON
// to standard output when it answers (ReadReady reads it), and ends when ctx does or when standard input reaches its
// end. The parent MUST hold the write end of that pipe and write nothing: however the parent dies, the child follows.
func RunChild(ctx context.Context, cfg Config) error {
	return runChild(ctx, cfg, os.Stdin, os.Stdout)
}

func runChild(ctx context.Context, cfg Config, in io.Reader, out io.Writer) error {
	b, err := Start(ctx, cfg)
	if err != nil {
		return err
	}
	err = json.NewEncoder(out).Encode(ready{Addrs: b.Addrs()})
	if err == nil {
		parentGone := make(chan struct{})
		go func() { // ends with the pipe, at the latest with the process
			defer close(parentGone)
			_, _ = io.Copy(io.Discard, in)
		}()
		select {
		case <-ctx.Done():
		case <-parentGone:
		}
	} else {
		err = fmt.Errorf("report readiness: %w", err)
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return errors.Join(err, b.Stop(stopCtx))
}

// ReadReady waits for a child's line on its standard output and returns the bootstrap addresses.
// An end before that line means that the child failed; its standard error and exit code say why.
func ReadReady(out io.Reader) ([]string, error) {
	line, err := bufio.NewReader(io.LimitReader(out, 4096)).ReadBytes('\n')
	if err != nil {
		return nil, fmt.Errorf("read readiness of broker: %w", err)
	}
	var r ready
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, fmt.Errorf("decode readiness of broker: %w", err)
	}
	if len(r.Addrs) == 0 {
		return nil, errors.New("broker reported no address")
	}
	return r.Addrs, nil
}
