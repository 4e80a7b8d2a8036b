package pipeline

import (
	"encoding/json"
	"io"
	"net/http"

	"github.com/sekisho/sekisho/internal/core"
)

// maxSealedLookup bounds the body of a state lookup, in bytes.
const maxSealedLookup = 16 << 10

// Handler serves the collectors inside the house: POST /internal/v1/consent/state takes a sealed envelope of kind
// consent that names a subject and nothing else, and answers with the state that is enforced. The collector cannot
// look a subject up itself: it holds no key that makes pseudonyms.
func (p *Pipeline) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /internal/v1/consent/state", func(w http.ResponseWriter, r *http.Request) {
		value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSealedLookup))
		if err != nil {
			http.Error(w, string(core.CodeTooLarge), http.StatusRequestEntityTooLarge)
			return
		}
		opened, reason := p.deps.Opener.Open(value)
		if reason != core.NoReason || opened.ConsentAct() == nil {
			http.Error(w, string(core.CodeMalformed), http.StatusBadRequest)
			return
		}
		state, ok := p.state(opened.Site(), opened.ConsentAct().Subject)
		if !ok {
			http.Error(w, string(core.CodeNotFound), http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(state) // the client is gone if it fails
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !p.ready.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	return mux
}
