package evidence

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/sekisho/sekisho/internal/core"
	"github.com/sekisho/sekisho/internal/httpx"
)

// maxWait bounds how long a request for receipts may wait.
const maxWait = 10 * time.Second

// Handler serves the collectors inside the house: GET /internal/v1/ledger/{checkpoint,proof,key}. They pass the answers
// on as they are.
func (b *Book) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /internal/v1/ledger/checkpoint", func(w http.ResponseWriter, _ *http.Request) {
		note, err := b.Checkpoint()
		if err != nil {
			httpx.WriteProblem(w, err)
			return
		}
		plain(w, note)
	})
	mux.HandleFunc("GET /internal/v1/ledger/key", func(w http.ResponseWriter, _ *http.Request) { plain(w, b.Public()+"\n") })
	mux.HandleFunc("GET /internal/v1/ledger/proof", func(w http.ResponseWriter, r *http.Request) {
		wait := time.Duration(0)
		if seconds, err := strconv.Atoi(r.URL.Query().Get("wait")); err == nil {
			wait = min(time.Duration(seconds)*time.Second, maxWait)
		}
		ctx, cancel := context.WithTimeout(r.Context(), wait)
		defer cancel()
		proof, err := b.Prove(ctx, r.URL.Query().Get)
		if err != nil {
			var told *core.Error
			if !errors.As(err, &told) {
				b.logger.LogAttrs(r.Context(), slog.LevelError, "proof failed", slog.Any("error", err))
			}
			httpx.WriteProblem(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(proof) // the client is gone if it fails
	})
	return mux
}

func plain(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, text) // the client is gone if it fails
}
