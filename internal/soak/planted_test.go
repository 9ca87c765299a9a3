package soak_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keastream/keastream/internal/soak"
)

var planted = flag.String("planted", "", "soak services with planted bugs, too: the name of a patch in testdata/planted, or all")

// A soak that finds nothing is worth something only if it would have found what
// is wrong. Each patch plants one bug into a service; the soak has to find
// it. Without -planted the patches are only applied and compiled, so that they follow
// the code.
func TestPlantedBugsAreFound(t *testing.T) {
	t.Parallel()
	dependOnSources(t)
	patches, err := filepath.Glob("testdata/planted/*.patch")
	if err != nil || len(patches) == 0 {
		t.Fatalf("no patches: %v", err)
	}
	if file := "testdata/planted/" + *planted + ".patch"; *planted != "" && *planted != "all" && !slices.Contains(patches, file) {
		t.Fatalf("-planted %s: there is no %s", *planted, file)
	}
	for _, patch := range patches {
		name := strings.TrimSuffix(filepath.Base(patch), ".patch")
		t.Run(name, func(t *testing.T) { // one after the other: a soak has the machine to itself
			module := copyOfModule(t)
			apply(t, patch, module)
			if *planted != "all" && *planted != name {
				build(t, module, "./services/publisher/...", "./services/dnswriter/...") // and no program is kept
				return
			}
			publisher, dnswriter := filepath.Join(module, "keastream-publisher"), filepath.Join(module, "keastream-dnswriter")
			build(t, module, "-o", publisher, "./services/publisher")
			build(t, module, "-o", dnswriter, "./services/dnswriter")
			o := options(t, publisher, dnswriter)
			o.Sweep = time.Hour        // or the next check repairs what is wrong
			o.Limit = "1000,100%,1000" // or the brake gives a removal the time that it lacks
			table, err := soak.Run(interrupted, o)
			if !errors.Is(err, soak.ErrBroken) {
				t.Fatalf("seed %d does not find the bug in %v: %v\n%s", o.Seed, o.Length, err, table)
			}
			found, _, _ := strings.Cut(err.Error(), "\n")
			t.Logf("found with seed %d: %s", o.Seed, found)
		})
	}
}

// apply applies a patch to the module in a directory.
func apply(t *testing.T, patch, module string) {
	t.Helper()
	text, err := os.ReadFile(patch)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "git", "apply", "--recount", "-C1")
	cmd.Dir, cmd.Stdin = module, bytes.NewReader(text)
	// Not the repository that the directory may lie in.
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(module))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s does not apply: the code has changed, so the patch must: %v\n%s", patch, err, out)
	}
}

// build runs go build in the module.
func build(t *testing.T, module string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-trimpath"}, args...)...) // what is not patched is built once
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// copyOfModule copies the source of the module to a directory of the test.
func copyOfModule(t *testing.T) string {
	t.Helper()
	root, module := moduleRoot(t), t.TempDir()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch to := filepath.Join(module, name); {
		case name == ".":
			return nil
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir():
			return os.Mkdir(to, 0o755)
		case !slices.Contains([]string{".go", ".sql", ".mod", ".sum"}, filepath.Ext(name)):
			return nil
		default:
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(to, text, 0o600)
		}
	})
	if err != nil {
		t.Fatal(fmt.Errorf("copy the module: %w", err))
	}
	return module
}
