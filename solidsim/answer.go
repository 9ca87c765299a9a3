package solidsim

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// An answer is what a call gives back: a status and a JSON body, or none.
type answer struct {
	status int
	body   []byte
}

// A field is a name and a value of an answer. The API knows no other values
// than strings.
type field struct{ name, value string }

// A refusal is the reason why a call did nothing. It is written as one bare
// object, not as an array, which is how clients tell it from rows.
type refusal struct {
	status    int
	errno     int
	message   string
	parameter string // the parameter in question, if there is one
	value     string // what it held
	plain     string // a body to answer instead of the object
}

func (r *refusal) Error() string {
	if r.parameter == "" {
		return r.message
	}
	return r.parameter + " " + strconv.Quote(r.value) + ": " + r.message
}

func (r *refusal) answer() answer {
	if r.plain != "" {
		return answer{status: r.status, body: []byte(r.plain)}
	}
	return answer{status: r.status, body: appendObject(nil, []field{
		{"errno", strconv.Itoa(r.errno)},
		{"errmsg", r.message},
		{"severity", "Error"},
		{"parameters", r.parameter},
		{"param_format", ""},
		{"param_value", r.value},
		{"ret_code", "0"},
	})}
}

// Error numbers of refusals. The appliance's own numbers are not documented,
// and clients should not look at them.
const (
	errnoAuthentication = 10001
	errnoService        = 10002
	errnoParameter      = 10003
	errnoExists         = 10004
	errnoMissing        = 10005
	errnoZone           = 10006
	errnoRights         = 10007
	errnoFault          = 10099
)

func refuse(errno int, message string) *refusal {
	return &refusal{status: http.StatusBadRequest, errno: errno, message: message}
}

func refuseParameter(parameter, value, message string) *refusal {
	return &refusal{status: http.StatusBadRequest, errno: errnoParameter, message: message, parameter: parameter, value: value}
}

// done is the answer to a call that created (201), edited or deleted (200) the
// object with this id.
func done(status int, id int64) answer {
	return objects(status, [][]field{{{"ret_oid", strconv.FormatInt(id, 10)}}})
}

// objects is the answer with one object per row, and 204 without a body if
// there is none.
func objects(status int, rows [][]field) answer {
	if len(rows) == 0 {
		return answer{status: http.StatusNoContent}
	}
	body := []byte{'['}
	for i, row := range rows {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendObject(body, row)
	}
	return answer{status: status, body: append(body, ']')}
}

func appendObject(body []byte, fields []field) []byte {
	body = append(body, '{')
	for i, f := range fields {
		if i > 0 {
			body = append(body, ',')
		}
		body = appendString(body, f.name)
		body = append(body, ':')
		body = appendString(body, f.value)
	}
	return append(body, '}')
}

// appendString writes a JSON string. A listing has thousands of them, nearly
// all plain, so these take the short way.
func appendString(body []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // cannot fail for a string
			return append(body, quoted...)
		}
	}
	body = append(body, '"')
	body = append(body, s...)
	return append(body, '"')
}
