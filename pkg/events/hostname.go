package events

import (
	"fmt"
	"strings"
)

// HostnameError says why a reserved name is not a host name.
type HostnameError struct {
	Name   string // as it stands in the reservation
	Reason string
}

func (e *HostnameError) Error() string {
	const show = 80
	name := e.Name
	if len(name) > show {
		name = name[:show] + "…"
	}
	return fmt.Sprintf("%q is not a host name: %s", name, e.Reason)
}

// CanonicalHostname returns the one form in which a name is compared and
// written: lower case, without the trailing dot. It accepts host names by
// RFC 952 and RFC 1123, section 2.1: labels of 1 to 63 letters, digits and
// hyphens that begin and end with a letter or digit, 253 characters in all
// (RFC 1035, 2.3.4). Internationalised names must be written as A-labels
// (RFC 5890); "--" in places three and four is refused in other labels.
//
// A name that passes is safe as a DNS owner name, inside a quoted string of a
// SOLIDserver WHERE clause, and as part of a file name. The error is always a
// *HostnameError.
//
// Kea reads "foo" and "foo." differently, as a name to be completed and as a
// complete one. Who needs to know looks at Reservation.Hostname for the dot.
func CanonicalHostname(name string) (string, error) {
	refuse := func(reason string) (string, error) {
		return "", &HostnameError{Name: name, Reason: reason}
	}
	if name == "" {
		return refuse("it is empty")
	}
	bare := strings.TrimSuffix(name, ".")
	if len(bare) > 253 {
		return refuse("it is longer than 253 characters")
	}
	last := ""
	for label := range strings.SplitSeq(bare, ".") {
		switch {
		case label == "":
			return refuse("it has an empty label")
		case len(label) > 63:
			return refuse("a label is longer than 63 characters")
		case label[0] == '-' || label[len(label)-1] == '-':
			return refuse("a label begins or ends with a hyphen")
		}
		for i := range len(label) {
			if c := label[i]; !isLetterOrDigit(c) && c != '-' {
				return refuse(fmt.Sprintf("%q is not a letter, digit or hyphen", c))
			}
		}
		if len(label) >= 4 && label[2:4] == "--" && !strings.EqualFold(label[:2], "xn") {
			return refuse("only internationalised labels (xn--…) may have -- in places three and four")
		}
		last = label
	}
	if strings.Contains(name, ".") && strings.Trim(last, "0123456789") == "" {
		return refuse("its last label is a number, so it could be read as an address")
	}
	return strings.ToLower(bare), nil
}

func isLetterOrDigit(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
