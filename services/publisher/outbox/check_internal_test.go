package outbox

import "testing"

// Servers and schemas that this machine does not have.
func TestJudgeVersions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		number  int
		standby bool
		want    string
	}{
		{120022, false, "server_version"}, {129999, true, "server_version"}, {130000, false, ""}, {180001, false, ""}, {150000, true, "standby"},
	} {
		if got := keyOf(judgeServer(test.number, "x", test.standby)); got != test.want {
			t.Errorf("server %d, standby %t: %q, want %q", test.number, test.standby, got, test.want)
		}
	}
	for version, want := range map[string]Severity{
		"12.0": Problem, "13.0": "", "22.2": "", "34.0": "", "34.9": "", "35.0": Warning, "": Warning, "x": Warning,
	} {
		var got Severity
		if f := judgeKeaSchema(version); len(f) > 0 {
			got = f[0].Severity
		}
		if got != want {
			t.Errorf("Kea's schema %q: %q, want %q", version, got, want)
		}
	}
}

func keyOf(findings []Finding) string {
	if len(findings) == 0 {
		return ""
	}
	return findings[0].Key
}
