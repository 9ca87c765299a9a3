package cabinet

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// defaultMakers are those of the replaced system, in its words: the last part of
// a name is the usual name of a maker's management controller.
var defaultMakers = map[string]string{"idrac": "Dell", "ilo": "HP", "bmc": "Supermicro"}

var (
	makerSuffix = regexp.MustCompile(`^[a-z0-9]+(-+[a-z0-9]+)*$`)
	// makerText holds what [Patterns.manufacturer] returns, and nothing that
	// Ansible would run.
	makerText = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9 ._+&-]{0,62}[A-Za-z0-9.+])?$`)
)

// WithManufacturers returns the patterns with these manufacturers, by the last
// part of a host name (idrac, ilo), besides the built-in ones or in their place.
// The error joins all that is wrong.
func (p Patterns) WithManufacturers(bySuffix map[string]string) (Patterns, error) {
	makers := maps.Clone(defaultMakers)
	var problems []error
	for _, suffix := range slices.Sorted(maps.Keys(bySuffix)) {
		name := bySuffix[suffix]
		if !makerSuffix.MatchString(suffix) {
			problems = append(problems, fmt.Errorf("%s=%s: %q cannot end a host name: give lower-case letters, digits and inner hyphens, as in idrac=Dell", suffix, name, suffix))
		}
		if !makerText.MatchString(name) {
			problems = append(problems, fmt.Errorf("%s=%s: %q cannot be a manufacturer: give 1 to 64 letters, digits, spaces and . _ + & -, a letter or digit first, as in idrac=Dell", suffix, name, name))
		}
		makers[suffix] = name
	}
	if len(problems) > 0 {
		return Patterns{}, errors.Join(problems...)
	}
	p.makers = makers
	return p, nil
}

// manufacturer tells the maker from what the group vendor found, or else from
// the last part of a name. What vendor found and no manufacturer is known for
// stands as it is.
func (p Patterns) manufacturer(label, vendor string) string {
	makers := p.makers
	if makers == nil {
		makers = defaultMakers
	}
	suffix := label[strings.LastIndexByte(label, '-')+1:]
	if vendor != "" {
		suffix = vendor
	}
	if name, ok := makers[suffix]; ok {
		return name
	}
	if makerText.MatchString(vendor) {
		return vendor
	}
	return unknown
}
