package soak

import (
	"os"
	"slices"
	"strings"

	"github.com/keastream/keastream/internal/e2e"
)

// publisher is one of the two publisher processes, with its ways to the
// database and to NATS.
type publisher struct {
	*measured
	pg   []*route // both lead to the one database
	nats []*route // none if NATS is in this process
}

// Metrics of the publisher that are looked at.
const (
	metricActive    = "keastream_publisher_active"
	metricComplete  = "keastream_publisher_complete"
	metricRefused   = "keastream_publisher_publish_refused_expectations_total"
	metricUnclear   = "keastream_publisher_publish_unclear_total"
	metricReadBacks = "keastream_publisher_publish_read_backs_total"
)

// said counts the lines of a process's log that have text in them.
func said(p *e2e.Process, text string) int { return len(lines(p, text)) }

func lines(p *e2e.Process, text string) []string {
	log, err := os.ReadFile(p.LogFile)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(strings.Split(string(log), "\n"), func(line string) bool { return !strings.Contains(line, text) })
}

// linesWith returns the last lines of a process's log that have text in them.
func linesWith(p *e2e.Process, text string) string {
	const most = 40
	all := lines(p, text)
	return strings.Join(all[max(0, len(all)-most):], "\n")
}
