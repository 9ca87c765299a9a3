package files

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
)

// leftoverPattern matches the hidden names under which Write makes files, and
// hardly anything that somebody else would call a file. The leading dot keeps
// Ansible and Prometheus from reading them.
var leftoverPattern = regexp.MustCompile(`^\.[a-z0-9_-]+-discovery\.yml\.[A-Z2-7]{26}$`)

// Write makes name hold data and returns whether it had to: if the file is there
// with the same content it is not touched. The error is [ErrForeign] if what is
// there is not ours. Data that is larger than [MaxSize] or would not be known as
// ours is refused with another error: nobody could change the file again.
//
// When Write returns without an error the new file is on disk. A crash in it
// leaves the old file, or the new one, and perhaps a hidden file for
// [Directory.RemoveLeftovers]. After an error the new file may be there all the
// same; the next Write of the same data then finds it.
func (d *Directory) Write(name string, data []byte) (changed bool, err error) {
	if !namePattern.MatchString(name) {
		return false, fmt.Errorf("write %q: %w", name, ErrName)
	}
	if len(data) > MaxSize {
		return false, fmt.Errorf("write %s: it would be larger than %d bytes", name, MaxSize)
	}
	old, err := d.own(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return false, fmt.Errorf("write %s: %w", name, err)
	case d.cfg.Same(old, data):
		return false, nil
	}
	if err := d.cfg.Ours(data); err != nil {
		return false, fmt.Errorf("write %s: it would not be known as ours: %w", name, err)
	}
	if err := d.replace(name, data); err != nil {
		return false, fmt.Errorf("write %s: %w", name, err)
	}
	return true, nil
}

func (d *Directory) replace(name string, data []byte) error {
	hidden := "." + name + "." + rand.Text()
	if err := d.create(hidden, data); err != nil {
		return withoutPath(err)
	}
	if err := d.root.Rename(hidden, name); err != nil {
		_ = d.root.Remove(hidden) // it may be gone; RemoveLeftovers finds what stays
		return withoutPath(err)
	}
	return d.sync()
}

// withoutPath takes the random name out of an error, so that the same failure
// has the same text each time and is not news.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return err
}

// create makes a new file that is on disk, but for its name. If it fails there
// is none.
func (d *Directory) create(name string, data []byte) (err error) {
	file, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		err = cmp.Or(err, file.Close())
		if err != nil {
			_ = d.root.Remove(name) // RemoveLeftovers finds what stays
		}
	}()
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := file.Chmod(d.cfg.Mode); err != nil {
		return err
	}
	return file.Sync()
}

// sync makes the names in the directory durable.
func (d *Directory) sync() error {
	dir, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Remove removes a file of ours; one that is not there is no error. The error is
// [ErrForeign] if what is there is not ours. As with Write, after another error
// the file may be gone all the same.
func (d *Directory) Remove(name string) error {
	if !namePattern.MatchString(name) {
		return fmt.Errorf("remove %q: %w", name, ErrName)
	}
	_, err := d.own(name)
	if err == nil {
		err = d.root.Remove(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = d.sync()
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}

// RemoveLeftovers removes the hidden files that a crash left behind, and
// returns their names. It is for the start: a Write of another process that
// works in the same directory fails if it is hit, and succeeds when repeated.
func (d *Directory) RemoveLeftovers() (removed []string, err error) {
	names, err := d.list(leftoverPattern)
	if err != nil {
		return nil, err
	}
	var problems []error
	for _, name := range names {
		info, err := d.root.Lstat(name)
		if err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err == nil {
			err = d.root.Remove(name)
		}
		switch {
		case err == nil:
			removed = append(removed, name)
		case !errors.Is(err, fs.ErrNotExist):
			problems = append(problems, fmt.Errorf("remove leftover: %w", err))
		}
	}
	return removed, errors.Join(problems...)
}
