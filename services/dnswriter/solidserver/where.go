package solidserver

import (
	"errors"
	"fmt"
	"strings"
)

// A column is a column of the classic API. It is a constant, always.
type column string

const (
	colServer   column = "dns_name"
	colParent   column = "vdns_parent_id"
	colView     column = "dnsview_name"
	colZone     column = "dnszone_name"
	colZoneType column = "dnszone_type"
	colReverse  column = "dnszone_is_reverse"
	colFullName column = "rr_full_name"
)

// maxLiteral is the greatest length of a value in a clause: a DNS name has at
// most 253 characters (RFC 1035), names of the appliance's objects 128.
const maxLiteral = 255

// errLiteral marks a value that must not stand in a WHERE clause.
var errLiteral = errors.New("cannot be asked for")

// A condition compares a column with a value.
type condition struct {
	column column
	value  string
}

// where makes the WHERE clause that is true for the rows in which all columns
// have their values. The appliance evaluates it as SQL, so this is the only
// place where one is made.
//
// A value with control characters, characters outside of ASCII, backslashes or
// percent signs is refused: no name that we ask for has them, and what the
// database behind the API makes of them is not documented. A DNS name, which may
// come from anybody, has nothing but what such names are made of. What else
// there is comes from the settings and from here; its quotes are doubled. There
// is no pattern matching.
func where(conditions ...condition) (string, error) {
	var clause strings.Builder
	for i, c := range conditions {
		if err := c.check(); err != nil {
			return "", fmt.Errorf("%s %.80q: %w", c.column, c.value, err)
		}
		if i > 0 {
			clause.WriteString(" AND ")
		}
		clause.WriteString(string(c.column))
		clause.WriteString("='")
		clause.WriteString(strings.ReplaceAll(c.value, "'", "''"))
		clause.WriteString("'")
	}
	return clause.String(), nil
}

// check refuses a value that must not stand in a clause.
func (c condition) check() error {
	switch {
	case c.value == "":
		return fmt.Errorf("an empty value %w", errLiteral)
	case len(c.value) > maxLiteral:
		return fmt.Errorf("a value of more than %d characters %w", maxLiteral, errLiteral)
	}
	for i := range len(c.value) {
		if b := c.value[i]; b < ' ' || b > '~' || b == '\\' || b == '%' || c.column.isName() && !inName(b) {
			return fmt.Errorf("a value with %q %w", rune(b), errLiteral)
		}
	}
	return nil
}

// isName tells whether the values of a column are DNS names.
func (c column) isName() bool { return c == colZone || c == colFullName }

// inName tells whether a byte may be part of a name: of a host name, of those of
// services and wildcards, or of a reverse zone for less than 256 addresses, which
// has a slash in it (RFC 2317).
func inName(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.IndexByte("-_.*/", b) >= 0
}
