package pgtest

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

// keaScript is what kea-admin db-init feeds to psql (Debian package kea-admin,
// Kea 2.2, schema 13.0).
const keaScript = "/usr/share/kea/scripts/pgsql/dhcpdb_create.pgsql"

// programs are the files of this machine that a server needs.
type programs struct {
	initdb, postgres, psql string
}

// findPrograms reports everything that is missing at once, with the remedy.
func findPrograms() (programs, error) {
	dir := newestServer("/usr/lib/postgresql/*/bin")
	find := func(name string) (string, error) {
		if dir != "" {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
		path, err := exec.LookPath(name)
		if err != nil {
			return "", fmt.Errorf("%s: neither in /usr/lib/postgresql/*/bin nor in PATH (package postgresql)", name)
		}
		return path, nil
	}
	var p programs
	var errs [4]error
	p.initdb, errs[0] = find("initdb")
	p.postgres, errs[1] = find("postgres")
	p.psql, errs[2] = find("psql")
	if _, err := os.Stat(keaScript); err != nil {
		errs[3] = fmt.Errorf("%w (package kea-admin)", err)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return programs{}, fmt.Errorf("missing on this machine, \"make deps\" installs it: %w", err)
	}
	return p, nil
}

// newestServer gives the directory with the highest major version in it, or "".
// Debian keeps one directory per major version.
func newestServer(pattern string) string {
	dirs, _ := filepath.Glob(pattern) // fails only for a bad pattern
	major := func(dir string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		return n
	}
	dirs = slices.DeleteFunc(dirs, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "postgres"))
		return err != nil
	})
	if len(dirs) == 0 {
		return ""
	}
	return slices.MaxFunc(dirs, func(a, b string) int { return cmp.Compare(major(a), major(b)) })
}

// account is the user that the server runs as.
type account struct {
	uid, gid   int
	credential *syscall.Credential // nil: the user of this process
}

// serverAccount chooses the user: PostgreSQL refuses to run as root.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return account{}, fmt.Errorf("PostgreSQL does not run as root, and its own user cannot be found, \"make deps\" installs it: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account{}, fmt.Errorf("user id of postgres: %w", err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return account{}, fmt.Errorf("group id of postgres: %w", err)
	}
	return account{uid: uid, gid: gid, credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// attributes are for a program that runs as the account.
func (a account) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Credential: a.credential,
		// A group of its own: Ctrl-C in a terminal is for this process, which
		// then stops the server in its turn.
		Setpgid: true,
	}
}
