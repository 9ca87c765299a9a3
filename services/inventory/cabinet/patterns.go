package cabinet

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// errNoMatch says that an expression does not match a name at all.
var errNoMatch = errors.New("does not match")

// defaultPlace begins both built-in patterns: a site of any name, hyphens in it
// included, and a cabinet cab<number>.
const defaultPlace = `^(?P<site>[a-z0-9]+(?:-+[a-z0-9]+)*?)-(?P<cabinet>cab[0-9]+)-`

// DefaultPatterns returns the built-in patterns. The first finds
// us3-cab10-ru17-idrac, us3-cab10-ru7-9-ilo (units 7 to 9) and
// us3-cab10-ru5-s2-bmc (slot 2), the second us1-cab01-svr01-bmc, whose unit is
// not known.
func DefaultPatterns() []string {
	return []string{
		defaultPlace + `(?:.*?[^a-z])?ru(?P<ru>[0-9]+)(?:-(?P<ru_end>[0-9]+)\b)?(?:.*?-s(?P<slot>[0-9]+)\b)?`,
		defaultPlace + `(?P<role>[a-z0-9]*)`,
	}
}

// Patterns are rules that tell the place of a device from its name, tried in
// order. The zero value holds [DefaultPatterns] and the built-in manufacturers.
// Patterns can be used from several goroutines at once.
type Patterns struct {
	rules  []rule
	makers map[string]string // see WithManufacturers; nil: the built-in ones
}

type rule struct {
	expr *regexp.Regexp
	// numbers of the groups; -1 is one that is not there
	site, cabinet, ru, ruEnd, slot, role, vendor int
}

var defaultRules = func() (rules []rule) {
	for _, text := range DefaultPatterns() {
		rules = append(rules, newRule(regexp.MustCompile(text)))
	}
	return rules
}()

func (p Patterns) all() []rule {
	if p.rules == nil {
		return defaultRules
	}
	return p.rules
}

// ParsePatterns reads regular expressions in the syntax of package regexp. Each
// must have the named groups site and cabinet, may have ru, ru_end, slot, role
// and vendor, and can have no other named group, which could only be a slip of
// the pen. No expressions at all give the zero value. The error joins all that is
// wrong, repeats each expression and says what to do.
func ParsePatterns(expressions []string) (Patterns, error) {
	var p Patterns
	var problems []error
	for _, text := range expressions {
		r, err := parsePattern(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", text, err))
			continue
		}
		p.rules = append(p.rules, r)
	}
	if len(problems) > 0 {
		return Patterns{}, errors.Join(problems...)
	}
	return p, nil
}

func parsePattern(text string) (rule, error) {
	const example = `give it as in ^(?P<site>[a-z0-9]+)-(?P<cabinet>cab[0-9]+)-ru(?P<ru>[0-9]+)`
	expr, err := regexp.Compile(text)
	if err != nil {
		return rule{}, fmt.Errorf("%w: write it in the syntax of RE2 (https://github.com/google/re2/wiki/Syntax), which has no look-around and no back-references", err)
	}
	for _, needed := range []string{"site", "cabinet"} {
		if expr.SubexpIndex(needed) < 0 {
			return rule{}, fmt.Errorf("there is no group (?P<%s>…): %s", needed, example)
		}
	}
	known := []string{"site", "cabinet", "ru", "ru_end", "slot", "role", "vendor"}
	for i, name := range expr.SubexpNames() {
		if name != "" && expr.SubexpIndex(name) != i {
			return rule{}, fmt.Errorf("there are two groups (?P<%s>…), of which only the first would count: give two patterns", name)
		}
		if name != "" && !slices.Contains(known, name) {
			return rule{}, fmt.Errorf("the group %q is not known: name it one of %s, or write (?:…) for a group without a name", name, strings.Join(known, ", "))
		}
	}
	if expr.SubexpIndex("ru_end") >= 0 && expr.SubexpIndex("ru") < 0 {
		return rule{}, fmt.Errorf("there is a group (?P<ru_end>…) and no (?P<ru>…), the other end of the rack units: %s", example)
	}
	return newRule(expr), nil
}

func newRule(expr *regexp.Regexp) rule {
	return rule{
		expr:    expr,
		site:    expr.SubexpIndex("site"),
		cabinet: expr.SubexpIndex("cabinet"),
		ru:      expr.SubexpIndex("ru"),
		ruEnd:   expr.SubexpIndex("ru_end"),
		slot:    expr.SubexpIndex("slot"),
		role:    expr.SubexpIndex("role"),
		vendor:  expr.SubexpIndex("vendor"),
	}
}
