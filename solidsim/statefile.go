package solidsim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

// saveInterval is how long changes are collected before they are written.
const saveInterval = 2 * time.Second

// A stateFile keeps the state of a store on disk.
type stateFile struct {
	path  string
	store *store
	log   *slog.Logger
}

// loadFile reads the state, and tells whether there was a file.
func (st *store) loadFile(path string) (bool, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open state: %w", err)
	}
	defer file.Close()
	if err := st.load(file); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	return true, nil
}

// run writes the file after changes until the context ends. The last write is
// left to the caller: changes may come until all calls are finished.
func (f *stateFile) run(ctx context.Context) {
	for {
		select {
		case <-f.store.changed:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(saveInterval):
		case <-ctx.Done():
			return
		}
		if err := f.write(); err != nil {
			f.log.ErrorContext(ctx, "state not written, it is tried again after the next change", "err", err)
		}
	}
}

// write replaces the file in one step: after a crash it has the old state or
// the new one.
func (f *stateFile) write() error {
	file, err := os.CreateTemp(filepath.Dir(f.path), "."+filepath.Base(f.path)+"-*")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	err = errors.Join(f.store.save(file), file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), f.path)
	}
	if err != nil {
		return fmt.Errorf("write state: %w", errors.Join(err, os.Remove(file.Name())))
	}
	return nil
}
