package embeddednats

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockName is the lock file in the store directory. It must not lie in the
// directory jetstream: nats-server removes what it does not know there.
const lockName = "keastream.lock"

// lockStore makes the store directory and takes it for this process, until the
// file is closed or the process ends. nats-server itself does not: two of them
// on one store would destroy it.
func lockStore(dir string) (*os.File, error) {
	if err := makeStore(dir); err != nil {
		return nil, fmt.Errorf("%w: give a directory that the user of this service may write", err)
	}
	path := filepath.Join(dir, lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, fmt.Errorf("in use by process %s, which holds %s: stop that process or give another directory", holder(file), path)
	}
	if err := writePID(file); err != nil {
		file.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return file, nil
}

// holder is the number in the lock file, for people only: the lock itself is
// the kernel's.
func holder(file *os.File) string {
	text, err := io.ReadAll(io.LimitReader(file, 32))
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return pid
	}
	return "(unknown)"
}

func writePID(file *os.File) error {
	if err := file.Truncate(0); err != nil {
		return err
	}
	_, err := fmt.Fprintf(io.NewOffsetWriter(file, 0), "%d\n", os.Getpid())
	return err
}
