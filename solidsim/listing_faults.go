package solidsim

import (
	"encoding/json"
	"net/http"
	"slices"
)

// listing spoils a page of a list: rows cut off its end, or a row twice. Other
// answers stay as they are.
func (f Fault) listing(result answer) answer {
	if !f.Short && !f.Double || result.status != http.StatusOK {
		return result
	}
	var rows []json.RawMessage
	if err := json.Unmarshal(result.body, &rows); err != nil || len(rows) == 0 {
		return result
	}
	if f.Short {
		rows = rows[:(len(rows)+1)/2]
	}
	if f.Double {
		middle := len(rows) / 2
		rows = slices.Insert(rows, middle, rows[middle])
	}
	body := []byte{'['}
	for i, row := range rows {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, row...)
	}
	result.body = append(body, ']')
	return result
}
