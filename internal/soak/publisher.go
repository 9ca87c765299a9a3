package soak

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keastream/keastream/internal/e2e"
)

// publisher is one of the two publisher processes, with its ways to the
// database and to NATS. Its methods may be called from several goroutines.
type publisher struct {
	*e2e.Process
	pg   []*route // both lead to the one database
	nats []*route // none if NATS is in this process

	mu   sync.Mutex
	last map[string]float64 // metrics, as of the last look at this process
	sum  map[string]float64 // how much each grew, over all its processes
}

// Metrics of the publisher that are looked at.
const (
	metricActive    = "keastream_publisher_active"
	metricComplete  = "keastream_publisher_complete"
	metricRefused   = "keastream_publisher_publish_refused_expectations_total"
	metricUnclear   = "keastream_publisher_publish_unclear_total"
	metricReadBacks = "keastream_publisher_publish_read_backs_total"
)

var metrics = []string{metricActive, metricComplete, metricRefused, metricUnclear, metricReadBacks}

// look reads the metrics. A counter that shrank belongs to a new process.
func (p *publisher) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.HTTP+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	now := make(map[string]float64)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if f, err := strconv.ParseFloat(value, 64); err == nil {
			now[name] = f
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("metrics of %s: %w", p.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range metrics {
		if grown := now[name] - p.last[name]; grown >= 0 {
			p.sum[name] += grown
		} else {
			p.sum[name] += now[name]
		}
	}
	p.last = now
	return nil
}

// total is how much a counter has grown in all processes of this publisher.
func (p *publisher) total(metric string) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sum[metric]
}

// gauge is a metric as of the last look.
func (p *publisher) gauge(metric string) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[metric]
}

// kill counts what can be counted, and kills.
func (p *publisher) kill(ctx context.Context) {
	_ = p.look(ctx) // it may be frozen
	p.Kill()
	p.gone()
}

// gone notes that the process has ended.
func (p *publisher) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = nil
}

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
