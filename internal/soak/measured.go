package soak

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keastream/keastream/internal/e2e"
)

// measured is a process whose metrics are followed. Its methods may be called from
// several goroutines.
type measured struct {
	*e2e.Process

	mu   sync.Mutex
	last map[string]float64 // metrics, as of the last look at this process
	sum  map[string]float64 // how much each counter grew, over all its processes
}

// metrics are those of which the growth is counted.
var metrics = []string{metricRefused, metricUnclear, metricReadBacks}

// look reads the metrics. A counter that shrank belongs to a new process.
func (p *measured) look(ctx context.Context) error {
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
	if p.sum == nil {
		p.sum = make(map[string]float64)
	}
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

// total is how much a counter has grown in all processes of this name.
func (p *measured) total(metric string) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sum[metric]
}

// gauge is a metric as of the last look.
func (p *measured) gauge(metric string) float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[metric]
}

// kill counts what can be counted, and kills.
func (p *measured) kill(ctx context.Context) {
	_ = p.look(ctx) // it may be frozen
	p.Kill()
	p.gone()
}

// gone notes that the process has ended.
func (p *measured) gone() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = nil
}

// watch follows the metrics of one of several processes, of which one works: it
// says so by a metric. Two may say so for a while, one of them without knowing that
// it is not the one any more: it is the one that began to say so last. began hears
// of it, with who it was before, -1 for nobody.
func (r *run) watch(ctx context.Context, number int, p *measured, metric string, active *atomic.Int32, began func(before int)) {
	was := false
	for ctx.Err() == nil {
		if p.look(ctx) == nil {
			is := p.gauge(metric) == 1
			if is && !was {
				began(int(active.Swap(int32(number))))
			}
			was = is
		}
		pause(ctx, 100*time.Millisecond)
	}
}
