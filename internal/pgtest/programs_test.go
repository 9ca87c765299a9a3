package pgtest

import (
	"os"
	"path/filepath"
	"testing"
)

func TestNewestServerIsByNumber(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for _, dir := range []string{"9.6/bin", "9/bin", "13/bin", "15/bin", "18/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if dir == "18/bin" {
			continue // the directory of a package with clients only
		}
		if err := os.WriteFile(filepath.Join(root, dir, "postgres"), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := newestServer(filepath.Join(root, "*/bin")), filepath.Join(root, "15/bin"); got != want {
		t.Errorf("newest server in %q, want %q", got, want)
	}
	if got := newestServer(filepath.Join(root, "none/*/bin")); got != "" {
		t.Errorf("newest server in %q, want none", got)
	}
}
