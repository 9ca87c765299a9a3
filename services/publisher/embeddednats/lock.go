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
		return nil, err
	}
	path := filepath.Join(dir, lockName)
	// It is written to: a link would lead to a file that is not the lock. Were it
	// a FIFO, opening it would wait.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link: remove it", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file: remove it", path)
	}
	if err != nil {
		file.Close()
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

// checkOwner refuses a store that others may write to: they could put their own
// stream there, or a lock. The error names the remedy.
func checkOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("the directory belongs to user %d and not to the user of this service, %d: chown it to that one, or give another directory",
			stat.Uid, os.Geteuid())
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("the directory may be written by its group or by others (mode %#o): take that off with chmod go-w, or give another directory", mode)
	}
	return nil
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
