package lease

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/sourcegraph/conc"
)

// document is the lease in the bucket. Fields may be added.
type document struct {
	Holder      string    `json:"holder"` // "": given back
	TermSeconds float64   `json:"term_seconds"`
	Renewed     time.Time `json:"renewed"` // by the holder's clock: for people only
}

func (d document) term() time.Duration { return time.Duration(d.TermSeconds * float64(time.Second)) }

// contest is what Run knows of the lease. It belongs to Run's goroutine.
type contest struct {
	*Lease
	key string

	revision uint64    // what the key held when it was last looked at; 0: nothing
	since    time.Time // when that was first seen; zero: not looked yet
	doc      document  // if nothing is there any more, what was there before
	isStale  bool      // a renewal did not succeed: look again

	mayBeMine bool      // what was put last may be there, or come to be there
	isFailing bool      // and that was logged
	looked    time.Time // when the key was last read or written
}

// Run competes for the lease until ctx ends: takes it when it can, and renews it.
// At the end it has the leaderships end, waits for Lead's functions to return, and
// gives the lease back. It returns an error only for bad settings: a server that is
// away is waited for. It must not be called twice.
func (l *Lease) Run(ctx context.Context) error {
	if l == nil {
		<-ctx.Done()
		return nil
	}
	if err := l.cfg.check(); err != nil {
		return err
	}
	c := &contest{Lease: l, key: "lease." + l.cfg.Name}
	moved := make(chan struct{}, 1)
	var watching conc.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		l.cfg.Bucket.Watch(ctx, func() {
			select {
			case moved <- struct{}{}:
			default:
			}
		}, c.key)
	})
	for ctx.Err() == nil {
		pause := time.NewTimer(c.round(ctx))
		look := moved
		if c.isMine() {
			look = nil // it is we who move it
		}
		select {
		case <-ctx.Done():
		case <-pause.C:
		case <-look:
		}
		pause.Stop()
	}
	l.wind()
	c.giveBack(ctx)
	return nil
}

func (c *contest) isMine() bool { return c.doc.Holder == c.cfg.Holder }

// round looks where the lease is and takes or renews it if it may. It returns the
// time until the next round.
//
// The holder does not look first: the compare-and-set does. It looks after a
// renewal that did not succeed, which may have happened all the same; only a renewal
// that is known to be stored makes it hold longer.
func (c *contest) round(ctx context.Context) time.Duration {
	began, soon := time.Now(), c.cfg.Renew/10
	if !c.isMine() || c.isStale {
		if err := c.read(ctx); err != nil {
			c.failed(ctx, err)
			return max(soon, c.cfg.Renew-time.Since(began))
		}
		if wait := c.wait(); wait > 0 {
			c.succeeded(ctx)
			c.heldBy(c.doc.Holder)
			return min(wait, c.cfg.Renew)
		}
	}
	sent := time.Now()
	err := c.put(ctx, c.cfg.Holder)
	switch {
	case err == nil:
		c.hold(sent.Add(c.cfg.Term))
		c.succeeded(ctx)
	case errors.Is(err, bucket.ErrConflict):
		return soon // somebody was faster, or an earlier renewal happened after all: look
	default:
		c.failed(ctx, err)
	}
	return max(soon, c.cfg.Renew-time.Since(began))
}

// read looks what the key holds.
func (c *contest) read(ctx context.Context) error {
	ctx, cancel := c.request(ctx)
	defer cancel()
	var doc document
	revision, err := c.cfg.Bucket.Get(ctx, c.key, &doc)
	if errors.Is(err, bucket.ErrNotFound) {
		// A person removed it, or the bucket, or it never was. The holder that was
		// seen there may not know yet.
		revision, doc, err = 0, c.doc, nil
	}
	if err != nil {
		return err
	}
	c.looked = time.Now()
	if c.since.IsZero() || revision != c.revision || doc.Holder != c.doc.Holder {
		c.since = time.Now()
	}
	c.revision, c.doc, c.isStale = revision, doc, false
	c.mayBeMine = c.mayBeMine && (revision == 0 || c.isMine())
	return nil
}

// wait returns how long the lease must be left alone still.
func (c *contest) wait() time.Duration {
	if c.doc.Holder == "" || c.isMine() {
		return 0
	}
	return max(c.cfg.Term, c.doc.term()) - time.Since(c.since)
}

// put stores a document with the holder over what was read. It goes on when ctx
// ends, so that it is known what is there to be given back.
func (c *contest) put(ctx context.Context, holder string) error {
	ctx, cancel := c.request(context.WithoutCancel(ctx))
	defer cancel()
	doc := document{Holder: holder, TermSeconds: c.cfg.Term.Seconds(), Renewed: time.Now().UTC()}
	c.mayBeMine = true
	stored, err := c.cfg.Bucket.Put(ctx, c.key, c.revision, doc)
	if err != nil {
		c.isStale = true
		return err
	}
	c.revision, c.doc, c.since = stored, doc, time.Now()
	c.looked = c.since
	return nil
}

func (c *contest) request(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, min(c.cfg.Term/4, maxRequest))
}

// giveBack lets a standby begin at once. Without it one begins when the term is
// over.
func (c *contest) giveBack(ctx context.Context) {
	if !c.mayBeMine {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), maxRequest)
	defer cancel()
	var err error
	for err == nil || errors.Is(err, bucket.ErrConflict) { // an earlier renewal came late
		if c.isStale {
			if err = c.read(ctx); err != nil {
				continue
			}
		}
		if c.revision == 0 || !c.isMine() {
			return
		}
		if err = c.put(ctx, ""); err == nil {
			c.cfg.Log.InfoContext(ctx, "lease given back")
			return
		}
	}
	c.cfg.Log.WarnContext(ctx, "lease is not given back and ends with its term", "err", fmt.Errorf("give back lease %s: %w", c.cfg.Name, err))
}

// failed logs the first failure of several. After a term of them whoever was seen to
// hold the lease may not any more.
func (c *contest) failed(ctx context.Context, err error) {
	if time.Since(c.looked) > c.cfg.Term {
		c.unknown()
	}
	if !c.isFailing && ctx.Err() == nil {
		c.isFailing = true
		c.cfg.Log.WarnContext(ctx, "lease cannot be read or renewed", "err", err)
	}
}

func (c *contest) succeeded(ctx context.Context) {
	if c.isFailing {
		c.isFailing = false
		c.cfg.Log.InfoContext(ctx, "lease can be read and renewed again")
	}
}
