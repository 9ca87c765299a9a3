package solidserver

import (
	"crypto/sha3"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/keastream/keastream/internal/secrets"
)

// Scheme is how a call shows on whose behalf it is made.
type Scheme string

// The schemes of the API. Native and Basic send user and password with every
// call. Token sends the id of a token, which stands in for the user, and a
// signature made with its secret, which stands in for the password; it needs
// SOLIDserver 8.4.0 or later and clocks that agree.
const (
	Native Scheme = "native"
	Basic  Scheme = "basic"
	Token  Scheme = "token"
)

// check refuses a scheme that there is not.
func (s Scheme) check() error {
	if slices.Contains([]Scheme{Native, Basic, Token}, s) {
		return nil
	}
	return fmt.Errorf("authentication %q: is none of native, basic and token", string(s))
}

// secretNames says what user and password are in the scheme, for errors.
func (s Scheme) secretNames() string {
	if s == Token {
		return "token id and token secret"
	}
	return "user and password"
}

// credentials are what user and password were for one call.
type credentials struct{ user, password secrets.Value }

// authenticate puts the headers of the scheme on a request that is complete
// otherwise: a signature is valid for its method and URL alone.
func (c *Client) authenticate(req *http.Request, as credentials) {
	user, password := as.user.Reveal(), as.password.Reveal()
	switch c.cfg.Auth {
	case Basic:
		req.SetBasicAuth(user, password)
	case Token:
		// The URL as it goes out: what is in the request line, behind the host as
		// it is in the header.
		url := "https://" + req.Host + req.URL.RequestURI()
		stamp := strconv.FormatInt(c.stamps.next(req.Method+" "+url, time.Now().Unix()), 10)
		req.Header.Set("X-SDS-TS", stamp)
		req.Header.Set("Authorization", "SDS "+user+":"+signature(password, stamp, req.Method, url))
	default:
		req.Header.Set("X-IPM-Username", base64.StdEncoding.EncodeToString([]byte(user)))
		req.Header.Set("X-IPM-Password", base64.StdEncoding.EncodeToString([]byte(password)))
	}
}

// signature is the hash of four lines without an end of the last one (EfficientIP's
// Terraform provider and Go client, acme.sh and Posh-ACME make it so). The hash is
// SHA3-256: it does not let anybody append to what was hashed, as SHA-256 would.
func signature(secret, stamp, method, url string) string {
	hash := sha3.Sum256([]byte(strings.Join([]string{secret, stamp, method, url}, "\n")))
	return hex.EncodeToString(hash[:])
}

// stamps keeps two calls that are the same from being signed the same: it is not
// known whether the appliance takes a signature twice, and the time in it has
// whole seconds.
type stamps struct {
	mu   sync.Mutex
	last map[string]int64 // by method and URL, those of now and later
	now  int64
}

// maxAhead is how many seconds the stamp of a call that is made again and again
// may be ahead. It is well within what clocks are allowed to differ by.
const maxAhead = 10

// next returns the time for a call, in seconds since 1970: now, or a little
// later than that of the same call before.
func (s *stamps) next(made string, now int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = make(map[string]int64)
	}
	if now != s.now {
		s.now = now
		maps.DeleteFunc(s.last, func(_ string, last int64) bool { return last < now || last > now+maxAhead })
	}
	stamp := now
	if last, ok := s.last[made]; ok {
		stamp = min(last+1, now+maxAhead)
	}
	s.last[made] = stamp
	return stamp
}

// trust is the memory of which credentials were accepted. The appliance gives
// the status 401 also for errors of its own (the Terraform provider repeats
// calls for that), and credentials that were just accepted hardly became wrong.
// But somebody may have changed the password, and a user may be locked out after
// a few calls with the old one.
type trust struct {
	mu       sync.Mutex
	accepted credentials
	proven   bool
	doubts   int // how often they were not accepted since
}

// maxDoubts is how many calls in a row may be answered with the status 401 and
// be repeated, whoever makes them.
const maxDoubts = 3

// answered notes that credentials were accepted.
func (t *trust) answered(as credentials) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.accepted, t.proven, t.doubts = as, true, 0
}

// doubt notes that they were not and tells whether that may pass.
func (t *trust) doubt(as credentials) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.proven || !t.accepted.user.Equal(as.user) || !t.accepted.password.Equal(as.password) {
		return false
	}
	t.doubts++
	return t.doubts <= maxDoubts
}

// clockDrift says how far the clocks are apart, by the Date header of an answer
// (RFC 9110, section 6.6.1).
func clockDrift(date string, now time.Time) string {
	const remedy = "let NTP set both"
	there, err := http.ParseTime(date)
	if err != nil {
		return "the clocks of this machine and of SOLIDserver are too far apart: " + remedy
	}
	switch apart := there.Sub(now).Round(time.Second); { // the header has whole seconds
	case apart > time.Second:
		return fmt.Sprintf("the clock of SOLIDserver is %s ahead of this machine's: %s", apart, remedy)
	case apart < -time.Second:
		return fmt.Sprintf("the clock of SOLIDserver is %s behind this machine's: %s", -apart, remedy)
	}
	return "the clocks of this machine and of SOLIDserver are too far apart, though the Date of the answer is right: " + remedy
}
