package main

import (
	"testing"
	"time"

	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

func TestProgressText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		progress reconcile.Progress
		want     string
	}{
		{reconcile.Progress{Took: 3 * time.Second}, "reading the zones"},
		{reconcile.Progress{Took: 10 * time.Second, Done: 820, All: 20000, Changes: 800}, "820/20000 names, 800 changes, 80/s"},
		{reconcile.Progress{Took: 10 * time.Second, Done: 820, All: 20000, Changes: 800, Failing: 3}, "820/20000 names, 800 changes, 80/s, 3 failing"},
	} {
		if got := progressText(test.progress); got != test.want {
			t.Errorf("%+v: %q, want %q", test.progress, got, test.want)
		}
	}
}
