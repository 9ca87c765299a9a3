package solidsim

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// classParameters are the class parameters of an object by their names.
type classParameters map[string]string

// parseClassParameters reads the form `k=v&k2=v2`, in which names and values
// are url-encoded. As a list of names alone it is what
// class_parameters_to_delete holds.
func parseClassParameters(parameter, encoded string) (classParameters, error) {
	query, err := url.ParseQuery(encoded)
	if err != nil {
		return nil, refuseParameter(parameter, encoded, "class parameters are url-encoded name=value pairs joined by &")
	}
	params := make(classParameters, len(query))
	for key, values := range query {
		if key == "" {
			return nil, refuseParameter(parameter, encoded, "a class parameter needs a name")
		}
		params[key] = values[len(values)-1]
	}
	return params, nil
}

// encode writes the parameters in the order of their names.
func (c classParameters) encode() string {
	if len(c) == 0 {
		return ""
	}
	query := make(url.Values, len(c))
	for key, value := range c {
		query.Set(key, value)
	}
	return query.Encode()
}

// merged returns the class parameters after an edit: those that it does not
// mention stay.
func (c classParameters) merged(set, remove classParameters) classParameters {
	result := maps.Clone(c)
	if result == nil {
		result = make(classParameters)
	}
	maps.Copy(result, set)
	for key := range remove {
		delete(result, key)
	}
	return result
}

// An inheritance is the class parameters of an object together with those of
// the objects above it, the nearest of which wins.
type inheritance []owned

// owned are the class parameters that are set on one object.
type owned struct {
	object string // as in the column of the sources: real_dns,2
	params classParameters
}

func (s *server) classParameters() inheritance {
	return inheritance{{fmt.Sprintf("real_dns,%d", s.id), s.own}}
}

func (v *view) classParameters() inheritance {
	return append(inheritance{{fmt.Sprintf("real_dnsview,%d", v.id), v.own}}, v.server.classParameters()...)
}

func (z *zone) classParameters() inheritance {
	above := z.server.classParameters()
	if z.view != nil {
		above = z.view.classParameters()
	}
	return append(inheritance{{fmt.Sprintf("real_dnszone,%d", z.id), z.own}}, above...)
}

// find returns the level at which a parameter is set, and -1.
func (in inheritance) find(name string) int {
	return slices.IndexFunc(in, func(o owned) bool { _, set := o.params[name]; return set })
}

// get returns the value that counts, or "".
func (in inheritance) get(name string) string {
	if i := in.find(name); i >= 0 {
		return in[i].params[name]
	}
	return ""
}

// effective is all that counts.
func (in inheritance) effective() classParameters {
	all := make(classParameters)
	for _, o := range slices.Backward(in) {
		maps.Copy(all, o.params)
	}
	return all
}

// properties says of each parameter whether it is set here: the column
// *_class_parameters_properties.
func (in inheritance) properties() string {
	return in.describe(func(level int) string {
		if level == 0 {
			return "set,propagate"
		}
		return "inherited,propagate"
	})
}

// sources says of each inherited parameter where it is set: the column
// *_class_parameters_inheritance_source.
func (in inheritance) sources() string {
	return in.describe(func(level int) string {
		if level == 0 {
			return ""
		}
		return in[level].object
	})
}

func (in inheritance) describe(text func(level int) string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(in.effective())) {
		if t := text(in.find(name)); t != "" {
			parts = append(parts, url.QueryEscape(name)+"="+t)
		}
	}
	return strings.Join(parts, "&")
}

// setOnly says of the parameters of a record that they are set on it: records
// inherit none.
func (c classParameters) setOnly() string {
	if len(c) == 0 {
		return ""
	}
	return inheritance{{params: c}}.properties()
}
