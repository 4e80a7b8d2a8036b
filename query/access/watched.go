package access

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
)

// watched is a file as it is now. It is read again when it changes; while it cannot be understood, its last good content
// does not count. That is logged once for each change.
type watched[T any] struct {
	file     string
	optional bool // a file that is not there is as good as an empty one
	parse    func([]byte) (T, error)
	log      *slog.Logger

	mu    sync.Mutex
	fixed bool
	read  os.FileInfo
	value T
	fault error
}

// fix sets a content that comes from no file.
func (w *watched[T]) fix(value T) { w.fixed, w.value = true, value }

// current is the content, or why there is none.
func (w *watched[T]) current() (T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fixed {
		return w.value, nil
	}
	info, err := os.Stat(w.file)
	if err == nil && w.read != nil && os.SameFile(w.read, info) && w.read.ModTime().Equal(info.ModTime()) && w.read.Size() == info.Size() {
		return w.value, w.fault
	}
	before := w.fault
	var none T
	w.read, w.value, w.fault = info, none, err // before it is read: what is written meanwhile is another change
	if err == nil {
		var data []byte
		if data, w.fault = os.ReadFile(w.file); w.fault == nil {
			w.value, w.fault = w.parse(data)
		}
	}
	if w.fault != nil {
		w.value = none
		if w.optional && errors.Is(w.fault, fs.ErrNotExist) {
			w.read, w.fault = nil, nil
		}
	}
	switch {
	case w.fault != nil && (before == nil || before.Error() != w.fault.Error()):
		w.log.Error("a file about access is not understood: it opens nothing", "file", filepath.Base(w.file), "error", w.fault)
	case w.fault == nil && before != nil:
		w.log.Info("a file about access is understood again", "file", filepath.Base(w.file))
	}
	return w.value, w.fault
}
