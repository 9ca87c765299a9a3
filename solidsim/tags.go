package solidsim

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// The suffixes of the columns that hold class parameters and where each comes
// from. Both are encoded like a query string.
const (
	classParametersSuffix = "_class_parameters"
	propertiesSuffix      = "_class_parameters_properties"
)

// tagColumns reads TAGS: `<type>.<name>`, several joined by &. Each is a column
// tag_<type>_<name> with the class parameter of that name, empty if the object
// has none. The types are those that are known for DNS objects; records have no
// type of their own.
func tagColumns[T any](all columns[T], tags string) (columns[T], error) {
	if strings.TrimSpace(tags) == "" {
		return nil, nil
	}
	var found columns[T]
	for tag := range strings.SplitSeq(tags, "&") {
		object, name, _ := strings.Cut(tag, ".")
		if !slices.Contains([]string{"dns", "dnszone", "dnsview"}, object) || !isColumn(name) {
			return nil, fmt.Errorf("want <type>.<name> with the type dns, dnszone or dnsview, not %q", tag)
		}
		source, err := all.find(object + classParametersSuffix)
		if err != nil {
			return nil, fmt.Errorf("these objects have no class parameters of the type %q", object)
		}
		col := column[T]{name: "tag_" + object + "_" + name, value: func(row T) string {
			return decodeClass(source.value(row)).Get(name)
		}}
		if _, err := found.find(col.name); err != nil {
			found = append(found, col)
		}
	}
	return found, nil
}

// isColumn tells whether a name can stand in WHERE.
func isColumn(name string) bool {
	return name != "" && span(name, func(c byte) bool { return letter(c) || digit(c) }) == len(name)
}

// withoutInherited is the columns as NO_PARENT_CLASS_PARAM shows them: class
// parameters without those that come from the server, view or zone above, as
// the column of the properties tells.
func withoutInherited[T any](all columns[T]) columns[T] {
	own := slices.Clone(all)
	for i, col := range own {
		if !strings.HasSuffix(col.name, classParametersSuffix) && !strings.HasSuffix(col.name, propertiesSuffix) {
			continue
		}
		object, _, _ := strings.Cut(col.name, classParametersSuffix)
		properties, err := all.find(object + propertiesSuffix)
		if err != nil {
			continue
		}
		own[i].value = func(row T) string {
			kept := decodeClass(col.value(row))
			for name, property := range decodeClass(properties.value(row)) {
				if strings.HasPrefix(property[0], "inherited") {
					kept.Del(name)
				}
			}
			return strings.ReplaceAll(kept.Encode(), "%2C", ",")
		}
	}
	return own
}

// decodeClass reads class parameters. What cannot be read is left out: the
// simulator wrote them itself.
func decodeClass(encoded string) url.Values {
	values, _ := url.ParseQuery(encoded)
	return values
}
