package solidsim

import (
	"crypto/sha256"
	"crypto/sha3"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Token is an API token of SOLIDserver 8.4 and later: calls are signed with
// its secret and done with the rights of its user.
type Token struct {
	// User is one of Config.Users.
	User string
	// Secret is the first line of what is signed.
	Secret string
}

// The door knows who may call what.
type door struct {
	users   map[string]string   // passwords
	tokens  map[string]Token    // by id
	denied  map[string][]string // patterns of services, by user
	options Options

	mu   sync.Mutex
	seen map[string]time.Time // signatures, until when they would be good
}

// checkDoor finds what is wrong with users, tokens and rights.
func (c Config) checkDoor() error {
	var errs []error
	if _, found := c.Users[""]; found {
		errs = append(errs, errors.New("a user has no name: give each one a name and a password"))
	}
	for _, id := range slices.Sorted(maps.Keys(c.Tokens)) {
		t := c.Tokens[id]
		if _, known := c.Users[t.User]; !known {
			errs = append(errs, fmt.Errorf("token %q: user %q does not exist", id, t.User))
		}
		if id == "" || t.Secret == "" || strings.ContainsAny(id, ": ") {
			errs = append(errs, fmt.Errorf("token %q: want an id without colon and blank, and a secret", id))
		}
	}
	for _, user := range slices.Sorted(maps.Keys(c.Denied)) {
		if _, known := c.Users[user]; !known {
			errs = append(errs, fmt.Errorf("rights of %q: no such user", user))
		}
		errs = append(errs, checkPatterns("rights of "+strconv.Quote(user), c.Denied[user]))
	}
	return errors.Join(errs...)
}

// checkPatterns checks patterns of services, in the form of path.Match.
func checkPatterns(what string, patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fmt.Errorf("%s: %q is no pattern of services: want one as in dns_rr_*", what, pattern)
		}
	}
	return nil
}

// checkMeaning refuses patterns that fit no service: they were mistyped, and
// would do nothing without a word.
func checkMeaning(what string, patterns []string, services map[string]service) error {
	for _, pattern := range patterns {
		fits := func(name string) bool { return matches([]string{pattern}, name) }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(services)), fits) {
			return fmt.Errorf("%s: no service fits %q", what, pattern)
		}
	}
	return nil
}

// matches tells whether a name fits one of the patterns.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// caller returns the user who makes the call. The three schemes: native, in two
// headers of base64; basic; an API token. A call that has the header
// Authorization is judged by that alone.
func (d *door) caller(r *http.Request) (string, error) {
	scheme, credentials, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch {
	case scheme == "":
		return d.native(r.Header)
	case strings.EqualFold(scheme, "Basic"):
		user, password, _ := r.BasicAuth()
		return d.password(user, password)
	case strings.EqualFold(scheme, "SDS"):
		return d.token(r, credentials)
	default:
		return "", d.stranger()
	}
}

func (d *door) native(header http.Header) (string, error) {
	user, err := base64.StdEncoding.DecodeString(header.Get("X-IPM-Username"))
	if err != nil {
		return "", d.stranger()
	}
	password, err := base64.StdEncoding.DecodeString(header.Get("X-IPM-Password"))
	if err != nil {
		return "", d.stranger()
	}
	return d.password(string(user), string(password))
}

func (d *door) password(user, password string) (string, error) {
	want, known := d.users[user]
	have, wanted := sha256.Sum256([]byte(password)), sha256.Sum256([]byte(want))
	if subtle.ConstantTimeCompare(have[:], wanted[:]) != 1 || !known {
		return "", d.stranger()
	}
	return user, nil
}

// token checks `Authorization: SDS id:signature` and X-SDS-TS. A signature
// that is right but from another time is refused with 412, by which a client
// of the vendor tells a clock that is wrong.
func (d *door) token(r *http.Request, credentials string) (string, error) {
	id, signature, _ := strings.Cut(credentials, ":")
	stamp := r.Header.Get("X-SDS-TS")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	token, known := d.tokens[id]
	if err != nil || !known {
		return "", d.stranger()
	}
	if !slices.ContainsFunc(signedURLs(r), func(url string) bool {
		want := sign(token.Secret, stamp, r.Method, url)
		return subtle.ConstantTimeCompare([]byte(want), []byte(signature)) == 1
	}) {
		return "", d.stranger()
	}
	drift := time.Since(time.Unix(seconds, 0))
	if drift.Abs() > d.options.TokenWindow {
		return "", &refusal{
			status: http.StatusPreconditionFailed, errno: errnoAuthentication,
			message: "The time of the call is too far from the time of the server", parameter: "X-SDS-TS", value: stamp,
		}
	}
	if d.options.RefuseReplays && d.replayed(signature, time.Unix(seconds, 0).Add(d.options.TokenWindow)) {
		return "", d.stranger()
	}
	return token.User, nil
}

// sign returns the signature of a call: SHA3-256, not an HMAC, over four lines
// without an end of line after the last, in lower-case hexadecimal. The body is
// not in it.
func sign(secret, stamp, method, url string) string {
	sum := sha3.Sum256([]byte(strings.Join([]string{secret, stamp, method, url}, "\n")))
	return hex.EncodeToString(sum[:])
}

// signedURLs are the forms of the URL that the client may have signed: as it
// stands in the request, and the same with the port 443 written or not.
func signedURLs(r *http.Request) []string {
	host := r.Host
	urls := []string{"https://" + host + r.RequestURI}
	if plain, found := strings.CutSuffix(host, ":443"); found {
		return append(urls, "https://"+plain+r.RequestURI)
	}
	return append(urls, "https://"+host+":443"+r.RequestURI)
}

// replayed tells whether a signature was used before, and remembers it for as
// long as it is good.
func (d *door) replayed(signature string, until time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(d.seen, func(_ string, end time.Time) bool { return end.Before(now) })
	if _, found := d.seen[signature]; found {
		return true
	}
	if d.seen == nil {
		d.seen = make(map[string]time.Time)
	}
	d.seen[signature] = until
	return false
}

// admit refuses a service that the user has no right to.
func (d *door) admit(user, service string) error {
	if !matches(d.denied[user], service) {
		return nil
	}
	return &refusal{status: d.options.ForbiddenStatus, errno: errnoRights, message: "Permission denied"}
}

// stranger is the answer to a caller who is not known.
func (d *door) stranger() error {
	const message = "Authentication failed"
	refused := &refusal{status: http.StatusUnauthorized, errno: errnoAuthentication, message: message}
	switch d.options.Unauthorized {
	case UnauthorizedText:
		refused.plain = message
	case UnauthorizedDisconnected:
		refused.status, refused.plain = http.StatusOK, disconnected
	}
	return refused
}
