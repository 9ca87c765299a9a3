package events

import (
	"errors"
	"strings"
	"testing"
)

func TestCheckServer(t *testing.T) {
	t.Parallel()
	for version, ok := range map[string]bool{
		"2.12.0": true, "2.15.2": true, "3.0.0": true, "2.12.0-RC.1": true,
		"2.11.9": false, "2.9.10": false, "1.99.0": false, "": false, "nightly": false, "x.y.z": false,
	} {
		err := checkServer(version)
		if (err == nil) != ok {
			t.Errorf("checkServer(%q) = %v", version, err)
		}
		if version == "2.9.10" && (!errors.Is(err, ErrUnsafeStream) || !strings.Contains(err.Error(), "2.9.10") || !strings.Contains(err.Error(), "2.12")) {
			t.Errorf("the error %q does not name both versions", err)
		}
	}
}
