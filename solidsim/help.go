package solidsim

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// help is the service behind OPTIONS: one row for each parameter that the
// service knows. That OPTIONS tells the parameters is documented; the form of
// the rows is not, and is the simulator's own.
func (s service) help(name string) handler {
	methods := strings.Join(slices.Sorted(maps.Keys(s.handlers)), ",")
	return func(string, params) (answer, error) {
		var rows [][]field
		for _, parameter := range s.parameters {
			rows = append(rows, []field{{"errno", "0"}, {"service", name}, {"methods", methods}, {"parameter", parameter}})
		}
		return objects(http.StatusOK, rows), nil
	}
}
