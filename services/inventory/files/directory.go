// Package files keeps inventory files in a directory that other programs read
// and people edit.
//
// A file is written whole under a hidden name and then renamed, so readers see
// the old one or the new one and nothing between. A file whose content would
// not change is not touched, so that watchers see only news. And no file is
// changed or removed unless it is a regular file, has the name of an inventory
// file and says itself that it is ours: whatever else has such a name is
// reported as [ErrForeign].
//
// What is ours, and what counts as the same content, is told by functions: this
// package knows names, inodes and durability, not formats.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"syscall"
)

// MaxSize is the greatest size of a file that is read, in bytes. A file of
// 10,000 devices has 2 MB, and a cabinet does not hold a hundred of them.
const MaxSize = 4 << 20

// ErrForeign is returned, wrapped with the reason, when what stands under a name
// was not written by us. It was not changed.
var ErrForeign = errors.New("the file is not ours and stays as it is")

// ErrName is returned for a name that no inventory file can have. The file
// system was not touched.
var ErrName = errors.New("not the name of an inventory file")

// namePattern matches the names of inventory files. They have no directory, no
// leading dot and no upper case, which some file systems do not tell apart.
var namePattern = regexp.MustCompile(`^[a-z0-9_-]+-discovery\.yml$`)

// Config says what kind of files the directory holds.
type Config struct {
	// Mode are the permissions of new and changed files, whatever the umask
	// says; 0 means 0640. Owner and group are those of the process, or the group
	// of a set-group-ID directory.
	Mode fs.FileMode
	// Ours returns nil for the content of a file that we wrote, else the reason
	// why it is none. It must be set.
	Ours func(data []byte) error
	// Same tells whether two contents differ in nothing that matters. It must be
	// set.
	Same func(a, b []byte) bool
}

// Directory is an open directory with inventory files. Several processes may
// work on one: every operation is atomic. Between the look at a file and its
// replacement another program can put its own file there, which is then lost:
// no file system of POSIX can prevent that.
//
// A Directory can be used from several goroutines at once.
type Directory struct {
	root *os.Root
	cfg  Config
}

// Open opens the directory; it must exist. The error says so if it does not.
// Nothing outside of it is reached through it, nor another one that is put in
// its place later: whoever works for long opens it anew for each round.
func Open(path string, cfg Config) (*Directory, error) {
	if cfg.Mode == 0 {
		cfg.Mode = 0o640
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open the directory of the inventory files: %w", err)
	}
	return &Directory{root: root, cfg: cfg}, nil
}

// Close releases the directory.
func (d *Directory) Close() error { return d.root.Close() }

// Writable returns an error if files cannot be made in the directory: it is
// read-only, or belongs to somebody else.
func (d *Directory) Writable() error {
	const writeAndSearch = 0o3 // W_OK | X_OK, see access(2)
	if err := syscall.Access(d.root.Name(), writeAndSearch); err != nil {
		return fmt.Errorf("directory %s is not writable for the user of this service: %w", d.root.Name(), err)
	}
	return nil
}

// Names returns, sorted, what has the name of an inventory file, ours or not.
func (d *Directory) Names() ([]string, error) {
	return d.list(namePattern)
}

func (d *Directory) list(pattern *regexp.Regexp) ([]string, error) {
	dir, err := d.root.Open(".")
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.root.Name(), err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.root.Name(), err)
	}
	names = slices.DeleteFunc(names, func(n string) bool { return !pattern.MatchString(n) })
	slices.Sort(names)
	return names, nil
}

// Read returns the content of a file, also of one that is not ours. The error is
// [fs.ErrNotExist] if there is none, and [ErrForeign] if there is no regular
// file of at most [MaxSize] bytes under the name; links are not followed.
func (d *Directory) Read(name string) ([]byte, error) {
	if !namePattern.MatchString(name) {
		return nil, fmt.Errorf("read %q: %w", name, ErrName)
	}
	data, err := d.read(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

func (d *Directory) read(name string) ([]byte, error) {
	seen, err := d.root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if err := checkRegular(seen); err != nil {
		return nil, err
	}
	// Were a FIFO put here meanwhile, opening it would wait for a writer.
	file, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	opened, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(seen, opened) {
		// Replaced between the two calls, perhaps by a link, which was followed.
		return nil, errors.New("somebody replaced the file at this moment")
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > MaxSize:
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrForeign, MaxSize)
	}
	return data, nil
}

// checkRegular keeps us from reading what could block or never end.
func checkRegular(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular() && info.Size() > MaxSize:
		return fmt.Errorf("%w: it is larger than %d bytes", ErrForeign, MaxSize)
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return fmt.Errorf("%w: it is a directory", ErrForeign)
	case mode&fs.ModeSymlink != 0:
		return fmt.Errorf("%w: it is a symbolic link", ErrForeign)
	default:
		return fmt.Errorf("%w: it is no regular file (%s)", ErrForeign, mode)
	}
}

// own reads a file of ours.
func (d *Directory) own(name string) ([]byte, error) {
	data, err := d.read(name)
	if err != nil {
		return nil, err
	}
	if err := d.cfg.Ours(data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return data, nil
}
