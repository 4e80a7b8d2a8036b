// Command serve shows the report page over the stage, on loopback, until its standard input ends. It prints the address
// and the key to sign in with. The browser tests start it (web/test/report.test.mjs); by hand:
//
//	go run ./web/report/stage/serve
package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/sekisho/sekisho/web/report"
	"github.com/sekisho/sekisho/web/report/stage"
)

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(in io.Reader, out io.Writer) error {
	pages, err := report.Handler(report.Through(stage.API()), report.Options{Random: rand.Reader, Now: func() time.Time { return stage.Now }})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it ends with the standard input
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: pages, ReadHeaderTimeout: 5 * time.Second}
	fmt.Fprintf(out, "http://%s/ui/ja/ %s\n", listener.Addr(), stage.Reader)
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}
