package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

// verdict is what one check of one scope comes to; nil if all is well.
func verdict(result reconcile.Result, err error) error {
	switch {
	case err != nil:
		return err
	case len(result.Incomplete) > 0:
		return fmt.Errorf("%d removals are withheld, because these sources are not complete: %s: %w",
			len(result.Withheld), strings.Join(result.Incomplete, ", "), daemon.ErrDifference)
	case len(result.Withheld) > 0:
		return fmt.Errorf("%d removals are withheld, because the proof that no reservation asks for the records did not come in time: %w",
			len(result.Withheld), daemon.ErrDifference)
	case len(result.Stopped) > 0:
		var lists []string
		for _, list := range result.Stopped {
			lists = append(lists, list.String())
		}
		return fmt.Errorf("%s: %w", strings.Join(lists, "; "), daemon.ErrDifference)
	case result.Skipped > 0:
		return fmt.Errorf("%d changes are not allowed by --policy; the log has each: %w", result.Skipped, daemon.ErrDifference)
	}
	return nil
}

// worst is what the process ends with after all checks: failures if there are
// any, else differences.
func worst(verdicts []error) error {
	var failed, differs []error
	for _, err := range verdicts {
		switch {
		case errors.Is(err, daemon.ErrDifference):
			differs = append(differs, err)
		case err != nil:
			failed = append(failed, err)
		}
	}
	switch {
	case len(failed) > 0:
		return errors.Join(failed...)
	case len(differs) > 0:
		return errors.Join(differs...)
	}
	return daemon.ErrDone
}
