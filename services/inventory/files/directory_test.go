package files_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/keastream/keastream/services/inventory/files"
)

const name = "us3-cab10-discovery.yml"

// open opens a directory in which the first line of a file says whose it is and
// the last line does not matter.
func open(t *testing.T, path string) *files.Directory {
	t.Helper()
	timeless := func(data []byte) []byte {
		return data[:bytes.LastIndexByte(bytes.TrimSuffix(data, []byte("\n")), '\n')+1]
	}
	d, err := files.Open(path, files.Config{
		Ours: func(data []byte) error {
			if !bytes.HasPrefix(data, []byte("ours\n")) {
				return errors.New("the first line is not ours")
			}
			return nil
		},
		Same: func(a, b []byte) bool { return bytes.Equal(timeless(a), timeless(b)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func content(lines, at string) []byte { return []byte("ours\n" + lines + "\n" + at + "\n") }

func mustWrite(t *testing.T, d *files.Directory, name string, data []byte, wantChanged bool) {
	t.Helper()
	changed, err := d.Write(name, data)
	if err != nil || changed != wantChanged {
		t.Fatalf("Write(%s) = %t, %v, want %t", name, changed, err, wantChanged)
	}
}

// entries returns everything that is in the directory.
func entries(t *testing.T, path string) []string {
	t.Helper()
	all, err := os.ReadDir(path)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func TestWriteAndRemove(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	d := open(t, path)
	if _, err := d.Read(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Read of no file gives %v", err)
	}
	mustWrite(t, d, name, content("a", "10:00"), true)
	info, err := os.Stat(filepath.Join(path, name))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o640 {
		t.Errorf("mode %v, want 0640", info.Mode())
	}
	past := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(filepath.Join(path, name), past, past); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, d, name, content("a", "11:00"), false)
	if info, err = os.Stat(filepath.Join(path, name)); err != nil || !info.ModTime().Equal(past) {
		t.Errorf("writing the same content touched the file: %v, %v", info.ModTime(), err)
	}
	mustWrite(t, d, name, content("b", "12:00"), true)
	if data, err := d.Read(name); err != nil || string(data) != "ours\nb\n12:00\n" {
		t.Errorf("Read gives %q, %v", data, err)
	}
	if names, err := d.Names(); err != nil || !slices.Equal(names, []string{name}) {
		t.Errorf("Names gives %q, %v", names, err)
	}
	for range 2 {
		if err := d.Remove(name); err != nil {
			t.Error(err)
		}
	}
	if left := entries(t, path); len(left) != 0 {
		t.Errorf("left over: %q", left)
	}
}

func TestWriteKeepsReadersOnTheOldFile(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	d := open(t, path)
	mustWrite(t, d, name, content("old", "1"), true)
	reader, err := os.Open(filepath.Join(path, name))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	mustWrite(t, d, name, content("new", "2"), true)
	old := make([]byte, 100)
	n, err := reader.Read(old)
	if err != nil || string(old[:n]) != "ours\nold\n1\n" {
		t.Errorf("a reader that had the old file open sees %q, %v", old[:n], err)
	}
}

func TestModeIsASetting(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	d, err := files.Open(path, files.Config{
		Mode: 0o664,
		Ours: func([]byte) error { return nil },
		Same: bytes.Equal,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	mustWrite(t, d, name, []byte("x"), true)
	if info, err := os.Stat(filepath.Join(path, name)); err != nil || info.Mode() != 0o664 {
		t.Errorf("mode %v, %v, want 0664 whatever the umask", info.Mode(), err)
	}
}

func TestForeignStaysAsItIs(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, content("outside", "1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, put := range map[string]func(path string) error{
		"another program's file": func(p string) error { return os.WriteFile(p, []byte("theirs\n"), 0o600) },
		"an empty file":          func(p string) error { return os.WriteFile(p, nil, 0o600) },
		"a directory":            func(p string) error { return os.Mkdir(p, 0o700) },
		"a link to a file":       func(p string) error { return os.Symlink(outside, p) },
		"a link to ours": func(p string) error {
			return errors.Join(os.WriteFile(filepath.Dir(p)+"/x", content("x", "1"), 0o600), os.Symlink("x", p))
		},
		"a dangling link": func(p string) error { return os.Symlink("nowhere", p) },
		"a FIFO":          func(p string) error { return syscall.Mkfifo(p, 0o600) },
		"a huge file": func(p string) error {
			return errors.Join(os.WriteFile(p, content("", ""), 0o600), os.Truncate(p, files.MaxSize+1))
		},
	} {
		t.Run(strings.ReplaceAll(what, " ", "-"), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			d := open(t, dir)
			if changed, err := d.Write(name, content("new", "1")); changed || !errors.Is(err, files.ErrForeign) {
				t.Errorf("Write = %t, %v, want ErrForeign", changed, err)
			}
			if err := d.Remove(name); !errors.Is(err, files.ErrForeign) {
				t.Errorf("Remove = %v, want ErrForeign", err)
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) || before.Size() != after.Size() ||
				before.Mode() != after.Mode() || !before.ModTime().Equal(after.ModTime()) {
				t.Errorf("it was changed: %v, then %v, %v", before, after, err)
			}
			if names, err := d.Names(); err != nil || !slices.Equal(names, []string{name}) {
				t.Errorf("Names gives %q, %v", names, err)
			}
			mustWrite(t, d, "us3-cab11-discovery.yml", content("other", "1"), true)
			for _, e := range entries(t, dir) {
				if strings.HasPrefix(e, ".") {
					t.Errorf("left over: %q", e)
				}
			}
		})
	}
	if data, err := os.ReadFile(outside); err != nil || string(data) != "ours\noutside\n1\n" {
		t.Errorf("the file outside is %q, %v", data, err)
	}
}

func TestNamesAreChecked(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	d := open(t, path)
	for _, bad := range []string{
		"", ".", "..", "x.yml", "-discovery.yml", "../a-discovery.yml", "a/b-discovery.yml", "/a-discovery.yml",
		".a-discovery.yml", "A-discovery.yml", "a-discovery.yml\n", "a-discovery.yml.bak", "a\x00-discovery.yml", "a-discovery_yml",
	} {
		if _, err := d.Write(bad, content("a", "1")); !errors.Is(err, files.ErrName) {
			t.Errorf("Write(%q) = %v, want ErrName", bad, err)
		}
		if _, err := d.Read(bad); !errors.Is(err, files.ErrName) {
			t.Errorf("Read(%q) = %v, want ErrName", bad, err)
		}
		if err := d.Remove(bad); !errors.Is(err, files.ErrName) {
			t.Errorf("Remove(%q) = %v, want ErrName", bad, err)
		}
	}
	if left := entries(t, path); len(left) != 0 {
		t.Errorf("left over: %q", left)
	}
}

func TestAFailedWriteLeavesNothing(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	d := open(t, path)
	mustWrite(t, d, name, content("good", "1"), true)
	// The name itself fits into 255 bytes, the hidden one does not.
	long := strings.Repeat("x", 235) + "-discovery.yml"
	changed, err := d.Write(long, content("a", "1"))
	if changed || !errors.Is(err, syscall.ENAMETOOLONG) {
		t.Errorf("Write = %t, %v", changed, err)
	}
	if _, again := d.Write(long, content("a", "1")); again == nil || again.Error() != err.Error() {
		t.Errorf("the same failure has another text: %v, then %v", err, again)
	}
	mustWrite(t, d, name, content("better", "2"), true)
	if left := entries(t, path); !slices.Equal(left, []string{name}) {
		t.Errorf("left over: %q", left)
	}
}

func TestAVanishedDirectoryIsAnError(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "discovery")
	if _, err := files.Open(path, files.Config{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of no directory gives %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Open(path, files.Config{}); err == nil {
		t.Error("Open of a file gives no error")
	}
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	d := open(t, path)
	if err := d.Writable(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := d.Writable(); err == nil {
		t.Error("a directory that is gone is writable")
	}
	if changed, err := d.Write(name, content("a", "1")); changed || err == nil {
		t.Errorf("Write into a directory that is gone gives %t, %v", changed, err)
	}
	// Another directory in its place is not written to by accident.
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if changed, err := d.Write(name, content("a", "1")); changed || err == nil {
		t.Errorf("Write into a directory that was replaced gives %t, %v", changed, err)
	}
	if left := entries(t, path); len(left) != 0 {
		t.Errorf("in the new directory there is %q", left)
	}
}

func TestRemoveLeftovers(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	const random = ".ABCDEFGHIJKLMNOPQRSTUVWXY2"
	leftover := "." + name + random
	others := []string{
		"." + name, "." + name + ".swp", name + random, ".x.yml" + random, "." + name + random + "7", "." + name + strings.ToLower(random),
	}
	for _, n := range append(others, leftover) {
		if err := os.WriteFile(filepath.Join(path, n), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	directory := "." + "us3-cab11-discovery.yml" + random
	if err := os.Mkdir(filepath.Join(path, directory), 0o700); err != nil {
		t.Fatal(err)
	}
	d := open(t, path)
	removed, err := d.RemoveLeftovers()
	if err != nil || !slices.Equal(removed, []string{leftover}) {
		t.Errorf("RemoveLeftovers = %q, %v", removed, err)
	}
	want := append(slices.Clone(others), directory)
	slices.Sort(want)
	if left := entries(t, path); !slices.Equal(left, want) {
		t.Errorf("what stays is %q, want %q", left, want)
	}
}

// TestACrashLeavesOldOrNew stops a program in the middle of its work as a crash
// would: by what is on disk then.
func TestACrashLeavesOldOrNew(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	d := open(t, path)
	mustWrite(t, d, name, content("old", "1"), true)
	// The crash came before the rename: a hidden file, half of it written.
	if err := os.WriteFile(filepath.Join(path, "."+name+"."+strings.Repeat("A", 26)), []byte("ours\nne"), 0o600); err != nil {
		t.Fatal(err)
	}
	d = open(t, path)
	if names, err := d.Names(); err != nil || !slices.Equal(names, []string{name}) {
		t.Errorf("after the crash Names gives %q, %v", names, err)
	}
	if data, err := d.Read(name); err != nil || string(data) != "ours\nold\n1\n" {
		t.Errorf("after the crash the file is %q, %v", data, err)
	}
	if _, err := d.RemoveLeftovers(); err != nil {
		t.Error(err)
	}
	mustWrite(t, d, name, content("new", "2"), true)
	// The crash came after the rename: the same work is found done.
	d = open(t, path)
	mustWrite(t, d, name, content("new", "3"), false)
	if left := entries(t, path); !slices.Equal(left, []string{name}) {
		t.Errorf("left over: %q", left)
	}
}

func TestWriteRefusesWhatCouldNotBeReadAgain(t *testing.T) {
	t.Parallel()
	path := t.TempDir()
	d := open(t, path)
	for _, before := range [][]byte{nil, content("a", "10:00")} {
		if before != nil {
			mustWrite(t, d, name, before, true)
		}
		for what, data := range map[string][]byte{
			"too large":         content(strings.Repeat("x", files.MaxSize), "1"),
			"not ours any more": []byte("whose\n"),
		} {
			if changed, err := d.Write(name, data); err == nil || changed || errors.Is(err, files.ErrForeign) {
				t.Errorf("Write of what is %s: %t, %v", what, changed, err)
			}
		}
		if after, err := d.Read(name); !bytes.Equal(after, before) {
			t.Errorf("the file holds %q, %v", after, err)
		}
	}
}
