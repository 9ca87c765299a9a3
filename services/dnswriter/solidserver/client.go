package solidserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/time/rate"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// Client is a connection pool to one appliance. It is safe for concurrent use.
type Client struct {
	cfg     Config
	base    *url.URL
	http    *http.Client
	slots   chan struct{} // holds one entry for each operation in progress
	limiter *rate.Limiter // nil: no limit
	breaker *breaker
	trust   trust
	stamps  stamps
}

// New makes a Client. It reads the CA file and connects to nothing. The error
// names every setting that is not right.
func New(cfg Config) (*Client, error) {
	cfg, err := cfg.complete()
	base, hostErr := baseURL(cfg.Host)
	tlsConfig, caErr := tlsConfig(cfg.CAFile, cfg.Insecure)
	if err := errors.Join(err, hostErr, caErr); err != nil {
		return nil, err
	}
	c := &Client{
		cfg:  cfg,
		base: base,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:               http.ProxyFromEnvironment,
				DialContext:         dialer().DialContext,
				TLSClientConfig:     tlsConfig,
				TLSHandshakeTimeout: 10 * time.Second,
				MaxIdleConnsPerHost: cfg.Concurrency,
				IdleConnTimeout:     30 * time.Second,
			},
			// The headers with the password would follow to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		slots:   make(chan struct{}, cfg.Concurrency),
		breaker: newBreaker(cfg.Metrics),
	}
	if cfg.Rate > 0 {
		c.limiter = rate.NewLimiter(rate.Limit(cfg.Rate), largestReservation)
	}
	return c, nil
}

// Close closes the connections that are not in use. The Client must not be
// used afterwards.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// largestReservation is how many calls are admitted at once: a read and the
// write that is decided by it, so that the rate limit does not come between
// them.
const largestReservation = 2

// enter waits until there is room for one more operation. The caller must call
// leave at its end.
func (c *Client) enter(ctx context.Context) (leave func(), err error) {
	select {
	case c.slots <- struct{}{}:
		return func() { <-c.slots }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for a free slot: %w", context.Cause(ctx))
	}
}

// admit waits until the rate limit allows n more calls.
func (c *Client) admit(ctx context.Context, n int) error {
	if c.limiter == nil {
		return nil
	}
	defer c.cfg.Metrics.throttle()()
	if err := c.limiter.WaitN(ctx, n); err != nil {
		return fmt.Errorf("wait for the rate limit: %w", err)
	}
	return nil
}

// A call is one request of the API. All parameters travel in the query string,
// as those of all public clients do.
type call struct {
	method, service string
	params          url.Values
}

// An answer is one with a status of 200 to 299.
type answer struct {
	status int
	body   []byte
}

// maxAnswer bounds an answer, in bytes. A full page has 1,000 rows of the
// columns that are asked for. With all names at their greatest length (1.3 KB:
// owner, value, zone, server, view), a mark of the most sources (1.1 KB) and the
// names of the columns (0.2 KB) that is 2.6 MB; usual rows have 0.5 KB.
const maxAnswer = 8 << 20

// readAttempts is how often a read is tried in all.
const readAttempts = 4

// maxRetryAfter is the longest pause that a read grants the appliance before it
// is given up.
const maxRetryAfter = 30 * time.Second

// read sends a call that changes nothing, and sends it again when the failure
// looks like one that passes. The first attempt waits for the admission of
// ahead more calls, so that these may follow at once.
func (c *Client) read(ctx context.Context, service string, params url.Values, ahead int) (answer, error) {
	pause := &backoff.ExponentialBackOff{
		InitialInterval: 200 * time.Millisecond, RandomizationFactor: 0.5, Multiplier: 3, MaxInterval: 5 * time.Second,
	}
	pause.Reset()
	for attempt := 1; ; attempt++ {
		if err := c.admit(ctx, 1+ahead); err != nil {
			return answer{}, err
		}
		ahead = 0
		result, err := c.send(ctx, call{http.MethodGet, service, params}, c.cfg.ReadTimeout)
		failed, ok := errors.AsType[*Error](err)
		if !ok || !failed.passing() || attempt == readAttempts || failed.RetryAfter > maxRetryAfter {
			return result, err
		}
		if !c.wait(ctx, pause.NextBackOff(), failed.RetryAfter) {
			return answer{}, err
		}
	}
}

// wait spends the time of a pause, or what the appliance wishes if that is more.
// It returns false if ctx ended before.
func (c *Client) wait(ctx context.Context, pause, wish time.Duration) bool {
	if wish > pause {
		pause = wish
		defer c.cfg.Metrics.throttle()()
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// write sends a call that changes something, once. It must have been admitted.
func (c *Client) write(ctx context.Context, method, service string, params url.Values) (id string, err error) {
	made := call{method, service, params}
	if err := c.cfg.MayWrite(); err != nil {
		return "", &Error{Method: method, Service: service, Outcome: NotSent, kept: true, Err: fmt.Errorf("%w: %w", dns.ErrNotNow, err)}
	}
	result, err := c.send(ctx, made, c.cfg.WriteTimeout)
	if err != nil {
		return "", err
	}
	if id, err = decodeID(result.body); err != nil {
		return "", made.unreadable(result, err)
	}
	return id, nil
}

// send sends a call once, unless the breaker is open. The error is an *Error.
func (c *Client) send(caller context.Context, made call, timeout time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(caller, timeout,
		fmt.Errorf("no answer within %s: %w", timeout, context.DeadlineExceeded))
	defer cancel()
	// Until there is a connection, nothing can have reached the appliance.
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	as, err := c.credentials(ctx)
	if err != nil {
		return answer{}, &Error{Method: made.method, Service: made.service, Outcome: NotSent, kept: true, Err: err}
	}
	req, err := c.request(ctx, made, as)
	if err != nil {
		return answer{}, &Error{Method: made.method, Service: made.service, Outcome: NotSent, kept: true, Err: err}
	}
	done, refused := c.breaker.enter(made)
	if refused != nil {
		return answer{}, refused
	}
	start := time.Now()
	end := c.cfg.Metrics.begin(made.service)
	result, failed := c.exchange(req, made)
	done(failed.verdict(caller.Err() != nil), failed)
	status := result.status
	if failed != nil {
		status = failed.Status
		failed.lost = failed.lost && ctx.Err() == nil
		if !connected.Load() {
			failed.Outcome, failed.lost = NotSent, false
		}
	}
	end(status)
	c.cfg.Log.DebugContext(ctx, "solidserver call", "method", made.method, "service", made.service,
		"status", status, "duration", time.Since(start))
	switch {
	case failed == nil:
		c.trust.answered(as)
		return result, nil
	case status == http.StatusUnauthorized:
		failed.doubtful = c.trust.doubt(as)
	}
	return answer{}, failed
}

// credentials are those of this moment.
func (c *Client) credentials(ctx context.Context) (as credentials, err error) {
	if as.user, err = c.cfg.Username(ctx); err != nil {
		return as, fmt.Errorf("user of SOLIDserver: %w", err)
	}
	if as.password, err = c.cfg.Password(ctx); err != nil {
		return as, fmt.Errorf("password of SOLIDserver: %w", err)
	}
	return as, nil
}

// request makes the HTTP request.
func (c *Client) request(ctx context.Context, made call, as credentials) (*http.Request, error) {
	target := c.base.JoinPath(made.service)
	target.RawQuery = made.params.Encode()
	req, err := http.NewRequestWithContext(ctx, made.method, target.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Accept-Language", "en") // of the texts of errors
	req.Header.Set("User-Agent", "keastream-dnswriter")
	c.authenticate(req, as)
	return req, nil
}

// exchange sends the request and reads the whole answer.
func (c *Client) exchange(req *http.Request, made call) (answer, *Error) {
	resp, err := c.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok { // its text repeats the whole URL
			err = wrapped.Err
		}
		return answer{}, &Error{Method: made.method, Service: made.service, Err: advise(err), lost: true}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, &Error{
			Method: made.method, Service: made.service, Status: resp.StatusCode,
			Err: fmt.Errorf("the answer broke off: %w", err), lost: true,
		}
	case len(body) > maxAnswer:
		return answer{}, made.unreadable(answer{status: resp.StatusCode},
			fmt.Errorf("the answer has more than %d bytes", maxAnswer))
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return answer{}, c.refusal(made, resp, body)
	}
	return answer{status: resp.StatusCode, body: body}, nil
}
