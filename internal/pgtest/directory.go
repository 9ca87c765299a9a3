package pgtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	directoryPrefix = "keastream-pg-"

	// Linux keeps a socket's path in 108 bytes, the last one 0 (unix(7)).
	maxSocketPath = 107
)

// directory is all that a server has on disk: data, log, socket.
type directory struct {
	path string
	// lock is the open directory with an exclusive flock on it. The kernel
	// drops the lock when this process ends, in whatever way.
	lock *os.File
}

func (d *directory) data() string { return filepath.Join(d.path, "data") }
func (d *directory) log() string  { return filepath.Join(d.path, "postgres.log") }

// newDirectory makes a directory for owner below parent, and removes those that
// dead processes left there.
func newDirectory(parent string, owner account) (_ *directory, err error) {
	parent, err = filepath.Abs(parent) // the server's programs run in another directory
	if err != nil {
		return nil, err
	}
	removeAbandoned(parent, owner)
	// It gets the name that removeAbandoned looks for after it is locked, never before.
	fresh, err := os.MkdirTemp(parent, "."+directoryPrefix)
	if err != nil {
		return nil, fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	d := &directory{path: filepath.Join(parent, strings.TrimPrefix(filepath.Base(fresh), "."))}
	if d.lock, err = os.Open(fresh); err == nil {
		err = syscall.Flock(int(d.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		err = os.Chown(fresh, owner.uid, owner.gid)
	}
	if err == nil {
		err = os.Rename(fresh, d.path)
	}
	if err != nil {
		err = fmt.Errorf("prepare the directory for PostgreSQL: %w", err)
		return nil, errors.Join(err, d.lock.Close(), os.RemoveAll(fresh))
	}
	if n := len(d.path) + len("/.s.PGSQL.65535.lock"); n > maxSocketPath {
		err := fmt.Errorf("directory %s is %d bytes too long for the socket in it: set TMPDIR to a shorter path", d.path, n-maxSocketPath)
		return nil, errors.Join(err, d.remove())
	}
	return d, nil
}

func (d *directory) remove() error {
	return errors.Join(os.RemoveAll(d.path), d.lock.Close())
}

// removeAbandoned removes the directories of servers whose process is gone. It
// leaves alone what it is not sure about; a later call looks again.
func removeAbandoned(parent string, owner account) {
	paths, _ := filepath.Glob(filepath.Join(parent, directoryPrefix+"*")) // fails only for a bad pattern
	for _, path := range paths {
		// parent may be open to everybody: no links, and only directories of the server's user.
		lock, err := os.OpenFile(path, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		d := &directory{path: path, lock: lock}
		var stat syscall.Stat_t
		ours := syscall.Fstat(int(lock.Fd()), &stat) == nil && int(stat.Uid) == owner.uid
		if ours && syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && !d.serverRuns() {
			_ = os.RemoveAll(path)
		}
		_ = lock.Close()
	}
}

// serverRuns says whether a server still works in the directory: after the
// death of its owner it needs a moment to end.
func (d *directory) serverRuns() bool {
	content, err := os.ReadFile(filepath.Join(d.data(), "postmaster.pid"))
	if err != nil {
		return false
	}
	first, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return false
	}
	// A PostgreSQL server's working directory is its data directory. The
	// number alone may belong to another process by now.
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && cwd == d.data()
}
