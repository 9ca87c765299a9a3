package solidserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// flaky is an appliance that answers as it is told, behind a client.
type flaky struct {
	t      *testing.T
	client *Client
	answer exchange
	calls  atomic.Int64
}

func newFlaky(t *testing.T) *flaky {
	f := &flaky{t: t}
	f.client = clientOf(t, Config{Metrics: NewMetrics(nil)}, func(r *http.Request) (*http.Response, error) {
		f.calls.Add(1)
		return f.answer(r)
	})
	return f
}

func dead(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

func alive(*http.Request) (*http.Response, error) { return with(http.StatusOK) }

// write makes a call that is not repeated.
func (f *flaky) write(ctx context.Context) *Error {
	_, err := f.client.write(ctx, http.MethodPost, "dns_rr_add", nil)
	failed, _ := errors.AsType[*Error](err)
	return failed
}

// sent makes calls and checks how many of them arrive.
func (f *flaky) sent(made, arriving int) {
	f.t.Helper()
	before := f.calls.Load()
	for range made {
		f.write(f.t.Context())
	}
	if n := f.calls.Load() - before; n != int64(arriving) {
		f.t.Errorf("%d of %d calls were sent, want %d", n, made, arriving)
	}
}

// open tells whether the breaker is, and checks that the metrics tell too.
func (f *flaky) open() bool {
	f.t.Helper()
	open := !f.client.breaker.until.IsZero()
	if gauge := testutil.ToFloat64(f.client.cfg.Metrics.breaker); (gauge == 1) != open {
		f.t.Errorf("the gauge is %v", gauge)
	}
	return open
}

func TestBreakerOpensAndCloses(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]exchange{
		"no answer": dead,
		"500":       func(*http.Request) (*http.Response, error) { return with(500) },
		"503":       func(*http.Request) (*http.Response, error) { return with(503) },
		"429":       func(*http.Request) (*http.Response, error) { return with(429) },
		"408":       func(*http.Request) (*http.Response, error) { return with(408) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFlaky(t)
				f.answer = answer
				f.sent(breakAfter-1, breakAfter-1)
				if f.open() {
					t.Fatal("open too early")
				}
				f.sent(10, 1)
				failed := f.write(t.Context())
				if failed == nil || failed.Outcome != NotSent || failed.RetryAfter <= 0 || failed.RetryAfter > 2*shortestPause {
					t.Errorf("the refusal is %+v", failed)
				}
				if text := failed.Error(); !strings.HasPrefix(text, "POST dns_rr_add: not sent, since SOLIDserver did not answer") {
					t.Errorf("the refusal reads: %s", text)
				}
				if errors.Is(failed, dns.ErrUnclear) || errors.Is(failed, dns.ErrRefused) || errors.Is(failed, dns.ErrUnauthorised) {
					t.Errorf("the refusal is taken for an outcome: %v", failed)
				}
				for range 10 { // however long it takes
					time.Sleep(2 * longestPause)
					f.sent(10, 1)
				}
				f.answer = alive
				f.sent(10, 0)
				time.Sleep(2 * longestPause)
				f.sent(10, 10)
				f.answer = answer
				f.sent(breakAfter-1, breakAfter-1)
				if f.open() {
					t.Error("what failed before is not forgotten")
				}
			})
		})
	}
}

// An answer that is a no is an answer, and a failure now and then is no outage.
func TestBreakerStaysClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t)
		for _, status := range []int{400, 401, 403, 404, 412} {
			f.answer = func(*http.Request) (*http.Response, error) { return with(status) }
			f.sent(10, 10)
		}
		f.answer = func(r *http.Request) (*http.Response, error) {
			if f.calls.Load()%breakAfter == 0 {
				return alive(r)
			}
			return dead(r)
		}
		f.sent(100, 100)
	})
}

// While one call tries all others are refused, and the appliance gets them as
// soon as that one was answered.
func TestBreakerTriesOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t)
		f.answer = dead
		f.sent(breakAfter, breakAfter)
		time.Sleep(2 * shortestPause)
		f.answer = func(r *http.Request) (*http.Response, error) {
			time.Sleep(5 * time.Second)
			return alive(r)
		}
		tried := make(chan *Error)
		go func() { tried <- f.write(t.Context()) }()
		synctest.Wait()
		f.sent(10, 0)
		if failed := <-tried; failed != nil {
			t.Errorf("the call that tried: %v", failed)
		}
		f.answer = alive
		f.sent(10, 10)
	})
}

// A call that tries and is given up tells nothing, and the next one may try at
// once.
func TestBreakerOutlivesTheContextOfATrial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t)
		f.answer = dead
		f.sent(breakAfter, breakAfter)
		time.Sleep(2 * shortestPause)
		f.answer = func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		for range 3 {
			ctx, cancel := context.WithCancel(t.Context())
			tried := make(chan *Error)
			go func() { tried <- f.write(ctx) }()
			synctest.Wait()
			cancel()
			if failed := <-tried; failed == nil || !errors.Is(failed, context.Canceled) {
				t.Errorf("the call that was given up: %v", failed)
			}
		}
		f.answer = alive
		f.sent(1, 1)
		if f.open() {
			t.Error("still open")
		}
	})
}

// A wish of the appliance counts, to a degree.
func TestBreakerHonoursRetryAfter(t *testing.T) {
	t.Parallel()
	for wish, want := range map[time.Duration]time.Duration{20 * time.Second: 20 * time.Second, time.Hour: longestWish} {
		t.Run(wish.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFlaky(t)
				f.answer = func(*http.Request) (*http.Response, error) {
					return with(http.StatusTooManyRequests, "Retry-After", fmt.Sprint(int(wish.Seconds())))
				}
				f.sent(breakAfter, breakAfter)
				if failed := f.write(t.Context()); failed.RetryAfter != want {
					t.Errorf("the refusal tells to wait %s, want %s", failed.RetryAfter, want)
				}
				time.Sleep(want - time.Second)
				f.sent(10, 0)
				time.Sleep(time.Second)
				f.sent(10, 1)
			})
		})
	}
}

// Calls that were under way when the breaker opened tell nothing new when they
// fail; one that is answered closes it.
func TestBreakerAndCallsUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t)
		release := make(chan exchange)
		f.answer = func(r *http.Request) (*http.Response, error) { return (<-release)(r) }
		ended := make(chan *Error)
		for range breakAfter + 10 {
			go func() { ended <- f.write(t.Context()) }()
		}
		synctest.Wait()
		for range breakAfter {
			release <- dead
			<-ended
		}
		until := f.client.breaker.until
		if until.IsZero() {
			t.Fatal("not open")
		}
		for range 9 {
			release <- dead
			<-ended
		}
		if !f.client.breaker.until.Equal(until) {
			t.Error("the pause was made longer")
		}
		release <- alive
		<-ended
		if f.open() {
			t.Error("an answer did not close it")
		}
	})
}

// What the rate limit costs is counted.
func TestRateLimitIsCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := clientOf(t, Config{Rate: 2}, alive)
		for range largestReservation + 6 {
			if _, err := client.read(t.Context(), "dns_rr_list", nil, 0); err != nil {
				t.Fatal(err)
			}
		}
		if throttled := testutil.ToFloat64(client.cfg.Metrics.throttled); throttled < 2.9 || throttled > 3.1 {
			t.Errorf("%v s are counted, want 3", throttled)
		}
	})
}

// Reads are repeated as long as the breaker lets them.
func TestBreakerEndsTheRepetitionOfReads(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFlaky(t)
		f.answer = func(*http.Request) (*http.Response, error) { return with(503) }
		for range 10 {
			if _, err := f.client.read(t.Context(), "dns_rr_list", nil, 0); err == nil {
				t.Error("a read of a dead appliance did well")
			}
		}
		if f.calls.Load() > 2*readAttempts+1 {
			t.Errorf("%d calls", f.calls.Load())
		}
		_, err := f.client.read(t.Context(), "dns_rr_list", nil, 0)
		if failed, ok := errors.AsType[*Error](err); !ok || failed.Outcome != NotSent || failed.RetryAfter == 0 {
			t.Errorf("error is %v", err)
		}
	})
}

// A read grants the appliance the pause that it wishes, unless that is long.
func TestReadsHonourRetryAfter(t *testing.T) {
	t.Parallel()
	for wish, want := range map[time.Duration]int{25 * time.Second: 2, time.Hour: 1} {
		t.Run(wish.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := newFlaky(t)
				f.answer = func(r *http.Request) (*http.Response, error) {
					if f.calls.Load() == 1 {
						return with(http.StatusTooManyRequests, "Retry-After", fmt.Sprint(int(wish.Seconds())))
					}
					return alive(r)
				}
				start := time.Now()
				_, err := f.client.read(t.Context(), "dns_rr_list", nil, 0)
				if n := f.calls.Load(); n != int64(want) || (err == nil) != (want == 2) {
					t.Errorf("%d calls, error %v", n, err)
				}
				took := time.Since(start)
				if want == 2 && took != wish || want == 1 && took > 0 {
					t.Errorf("it took %s", took)
				}
				if throttled := testutil.ToFloat64(f.client.cfg.Metrics.throttled); throttled != took.Seconds() {
					t.Errorf("%v s are counted, want %s", throttled, took)
				}
			})
		})
	}
}
