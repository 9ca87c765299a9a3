package soak

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/keastream/keastream/internal/e2e"
)

// operate is the operator. He approves with the verb each list of names that the
// brake withholds, a moment after he has seen it, when it may be another one
// already.
func (r *run) operate(ctx context.Context) {
	for n := 0; ctx.Err() == nil; pause(ctx, 300*time.Millisecond) {
		for _, d := range r.world.dnswriters {
			for _, hash := range d.withheld(ctx) {
				r.coverage.add(r.coverage.reached, caseWithheld, 1)
				pause(ctx, time.Duration(n%4)*400*time.Millisecond)
				r.approve(ctx, hash)
				n++
			}
		}
	}
}

// withheld are the hashes of the lists that the DNS writer withholds.
func (d *dnswriter) withheld(ctx context.Context) (hashes []string) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.HTTP+"/api/v1/withheld", nil)
	if err != nil {
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil // it may be frozen, or not there
	}
	defer resp.Body.Close()
	var answer struct {
		Lists []struct {
			Hash string `json:"hash"`
		} `json:"lists"`
	}
	if json.NewDecoder(resp.Body).Decode(&answer) != nil {
		return nil
	}
	for _, l := range answer.Lists {
		hashes = append(hashes, l.Hash)
	}
	return hashes
}

// approve approves a list, if it is still there and NATS is.
func (r *run) approve(ctx context.Context, hash string) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	args := []string{"approve", hash}
	for url := range strings.SplitSeq(r.world.natsURL, ",") {
		args = append(args, "--nats-url", url)
	}
	log := r.world.path("approve.log")
	_ = os.Remove(log) // what it said the last time
	p := e2e.NewProcess("approve", r.options.DNSWriter, log, nil, args...)
	if err := p.Start(); err != nil {
		r.fail(err)
		return
	}
	err := p.Wait(ctx)
	p.Kill()
	switch {
	case err == nil:
		r.times.note("OPERATOR", "approves %s", hash)
		r.coverage.add(r.coverage.reached, caseApproved, 1)
	case strings.Contains(p.LogTail(), "no such list"):
		r.times.note("OPERATOR", "cannot approve %s any more", hash)
		r.coverage.add(r.coverage.reached, caseOutdated, 1)
	default:
		r.times.note("OPERATOR", "cannot approve %s: %v", hash, err)
	}
}
