package cabinet

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// fileSuffix is the end of the name of every inventory file.
const fileSuffix = "-discovery.yml"

// unknown stands where a name does not tell a rack unit or a manufacturer.
const unknown = "Unknown"

// Place is where a device stands and who made it, as far as its name tells.
type Place struct {
	Site, Cabinet string // not empty; lower-case letters, digits and inner hyphens
	Units         Units
	Manufacturer  string // "Dell", "HP", "Supermicro" or "Unknown"
}

// File returns the name of the file of the place, <site>-<cabinet>-discovery.yml.
func (p Place) File() string { return p.Site + "-" + p.Cabinet + fileSuffix }

// DefaultPattern finds us3-cab10-ru17-idrac, us3-cab10-ru7-9-ilo (units 7 to 9)
// and us1-cab01-svr01-bmc (unit not known), at any site whose name is one word.
const DefaultPattern = `^(?P<site>[a-z0-9]+)-(?P<cabinet>cab[0-9]+)-` +
	`(?:(?:.*?[^a-z])?ru(?P<ru>[0-9]+)(?:-(?P<ru_end>[0-9]+)\b)?)?`

// Patterns are rules that tell the place of a device from its name, tried in
// order. The zero value holds [DefaultPattern] alone. Patterns can be used from
// several goroutines at once.
type Patterns struct{ rules []rule }

type rule struct {
	expr                     *regexp.Regexp
	site, cabinet, ru, ruEnd int // numbers of the groups; -1 is one that is not there
}

var defaultRules = []rule{newRule(regexp.MustCompile(DefaultPattern))}

// ParsePatterns reads regular expressions in the syntax of package regexp. Each
// must have the named groups site and cabinet, may have ru and ru_end, and can
// have no other named group, which could only be a slip of the pen. No
// expressions at all give the zero value. The error joins all that is wrong
// and repeats each expression.
func ParsePatterns(expressions []string) (Patterns, error) {
	var p Patterns
	var problems []error
	for _, text := range expressions {
		expr, err := regexp.Compile(text)
		if err == nil {
			err = checkGroups(expr)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", text, err))
			continue
		}
		p.rules = append(p.rules, newRule(expr))
	}
	if len(problems) > 0 {
		return Patterns{}, errors.Join(problems...)
	}
	return p, nil
}

func checkGroups(expr *regexp.Regexp) error {
	const remedy = "give it as in " + DefaultPattern
	for _, needed := range []string{"site", "cabinet"} {
		if expr.SubexpIndex(needed) < 0 {
			return fmt.Errorf("there is no group (?P<%s>…): %s", needed, remedy)
		}
	}
	known := []string{"", "site", "cabinet", "ru", "ru_end"}
	for _, name := range expr.SubexpNames() {
		if !slices.Contains(known, name) {
			return fmt.Errorf("the group %q is not site, cabinet, ru or ru_end: %s", name, remedy)
		}
	}
	return nil
}

func newRule(expr *regexp.Regexp) rule {
	return rule{
		expr:    expr,
		site:    expr.SubexpIndex("site"),
		cabinet: expr.SubexpIndex("cabinet"),
		ru:      expr.SubexpIndex("ru"),
		ruEnd:   expr.SubexpIndex("ru_end"),
	}
}

// Place returns the place that the first matching pattern finds in a canonical
// host name (see [github.com/keastream/keastream/pkg/events.CanonicalHostname]);
// of a name with a domain the patterns see the first label. A pattern that finds
// no site or no cabinet, or one that begins or ends with a hyphen, does not
// match. ok is false if no pattern does.
func (p Patterns) Place(hostname string) (place Place, ok bool) {
	label, _, _ := strings.Cut(hostname, ".")
	rules := p.rules
	if rules == nil {
		rules = defaultRules
	}
	for _, r := range rules {
		m := r.expr.FindStringSubmatchIndex(label)
		if m == nil {
			continue
		}
		group := func(n int) string {
			if n < 0 || m[2*n] < 0 {
				return ""
			}
			return label[m[2*n]:m[2*n+1]]
		}
		site, cabinet := group(r.site), group(r.cabinet)
		if !isWord(site) || !isWord(cabinet) {
			continue
		}
		return Place{
			Site: site, Cabinet: cabinet,
			Units:        unitsOf(group(r.ru), group(r.ruEnd)),
			Manufacturer: manufacturer(label),
		}, true
	}
	return Place{}, false
}

// isWord tells whether s can be a part of a file name. Whatever the caller of
// Place or a file passes in, no path leads out of it.
func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[len(s)-1] != '-'
}

// manufacturer tells the maker from the last part of a name: the usual name of
// its management controller.
func manufacturer(label string) string {
	switch label[strings.LastIndexByte(label, '-')+1:] {
	case "idrac":
		return "Dell"
	case "ilo":
		return "HP"
	case "bmc":
		return "Supermicro"
	}
	return unknown
}
