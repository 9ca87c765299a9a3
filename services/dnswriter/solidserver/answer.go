package solidserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// text is a value of an answer. The API writes every value as a string; a
// number or a boolean is read all the same.
type text string

// UnmarshalJSON implements json.Unmarshaler.
func (t *text) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		*t = text(s)
		return nil
	}
	switch {
	case bytes.Equal(data, []byte("null")):
		*t = ""
	case data[0] == '{' || data[0] == '[':
		return errors.New("a value is neither text nor number")
	default:
		*t = text(data)
	}
	return nil
}

// cell is a value of a row in a list of many. One that is neither text nor
// number must not keep the other rows from being read: it is unreadable then,
// and its text is the JSON of it.
type cell struct {
	text
	unreadable bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (c *cell) UnmarshalJSON(data []byte) error {
	*c = cell{}
	if err := c.text.UnmarshalJSON(data); err != nil {
		*c = cell{text(data), true}
	}
	return nil
}

// problem are the fields with which the API tells of an error. Rows have an
// errno too, which is 0.
type problem struct {
	Errno     text `json:"errno"`
	Message   text `json:"errmsg"`
	Parameter text `json:"parameters"`
}

// failed tells whether it is an error.
func (p problem) failed() bool { return p.Errno != "" && p.Errno != "0" }

// check returns an error if it is one.
func (p problem) check() error {
	if p.failed() {
		return fmt.Errorf("errno %s: %q", plain(string(p.Errno)), show(string(p.Message)))
	}
	return nil
}

// decodeRows reads the rows of a list, up to pageSize, which no call asks for
// more than. No rows are the status 204, or an empty array; an empty body with
// another status is no answer.
func decodeRows[T interface{ check() error }](a answer) ([]T, error) {
	if a.status == http.StatusNoContent {
		return nil, nil
	}
	return decodeList(a.body, pageSize, T.check)
}

// decodeList reads an array and nothing after it. It takes row by row and ends
// with the first one that does not pass, or is one too many: a small answer may
// hold very many small rows, and each takes far more memory than it has bytes.
func decodeList[T any](body []byte, most int, check func(T) error) ([]T, error) {
	if start := bytes.TrimLeft(body, " \t\r\n"); len(start) == 0 || start[0] != '[' {
		return nil, fmt.Errorf("the answer is not a list in JSON: %s", whatElse(start))
	}
	var rows []T
	dec := json.NewDecoder(bytes.NewReader(body))
	_, err := dec.Token()
	for err == nil && dec.More() {
		if len(rows) == most {
			return nil, fmt.Errorf("the answer has more than %d rows", most)
		}
		var row T
		if err = dec.Decode(&row); err == nil {
			if err := check(row); err != nil {
				return nil, err
			}
			rows = append(rows, row)
		}
	}
	if err == nil {
		_, err = dec.Token()
	}
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, errors.New("the answer is cut off")
	case err != nil:
		return nil, fmt.Errorf("the answer is not a list of rows: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the answer is more than a list of rows")
	}
	return rows, nil
}

// whatElse says what a body is that is not a list.
func whatElse(body []byte) string {
	var object struct {
		problem
		Connected *bool `json:"connected"`
	}
	switch err := json.Unmarshal(body, &object); {
	case len(body) == 0:
		return "it is empty"
	case body[0] == '<':
		return "it is a page of HTML; is the host SOLIDserver itself, and not a proxy before it?"
	case err == nil && object.Connected != nil && !*object.Connected:
		// The web layer says so when a call did not reach a session (seen by users
		// of the Python client and of acme.sh).
		return `it is {"connected":false}: SOLIDserver has no session for the call; is it allowed to the user?`
	case err == nil && object.failed():
		return object.check().Error()
	case err != nil:
		return "it is no JSON of the API"
	}
	return "it is of no known form"
}

// maxObjects is far more than the one that answers to a write and errors have.
const maxObjects = 10

// decodeObjects reads an array of a few objects or one bare object.
func decodeObjects[T any](body []byte) ([]T, error) {
	objects, err := decodeList(body, maxObjects, func(T) error { return nil })
	if err == nil {
		return objects, nil
	}
	var single T
	if json.Unmarshal(body, &single) != nil {
		return nil, err
	}
	return []T{single}, nil
}

// decodeID reads the answer to a write, the id of the row: [{"ret_oid":"12"}].
// Answers without one were seen on calls that did nothing.
func decodeID(body []byte) (string, error) {
	type written struct {
		problem
		ID text `json:"ret_oid"`
	}
	rows, err := decodeObjects[written](body)
	switch {
	case err != nil:
		return "", err
	case len(rows) != 1:
		return "", fmt.Errorf("the answer tells of %d rows, not of one", len(rows))
	case rows[0].failed():
		return "", rows[0].check()
	case rows[0].ID == "" || rows[0].ID == "0":
		if list := bytes.TrimLeft(body, " \t\r\n"); list[0] != '[' {
			return "", fmt.Errorf("the answer has no ret_oid: %s", whatElse(list))
		}
		return "", errors.New("the answer has no ret_oid, so nothing may have been done")
	}
	return string(rows[0].ID), nil
}

// getCall is a call that reads.
func getCall(service string) call { return call{method: http.MethodGet, service: service} }

// unreadable is the error for an answer that looks good but cannot be
// understood.
func (made call) unreadable(a answer, err error) *Error {
	return &Error{Method: made.method, Service: made.service, Status: a.status, Err: err}
}

// refusal is the error for an answer with a status other than 200 to 299. Only
// an error object of the API with a status of 400 to 499 is a clear no. Some
// of those statuses are not: those of busy, and 401, which was seen on internal
// errors of the appliance too.
func (c *Client) refusal(made call, resp *http.Response, body []byte) *Error {
	now := time.Now()
	e := &Error{
		Method: made.method, Service: made.service, Status: resp.StatusCode,
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), now), secrets: c.cfg.Auth.secretNames(),
	}
	if objects, err := decodeObjects[problem](body); err == nil && len(objects) > 0 {
		e.Errno, e.Message, e.Parameter = string(objects[0].Errno), string(objects[0].Message), string(objects[0].Parameter)
	}
	if e.Status == http.StatusPreconditionFailed && c.cfg.Auth == Token {
		// The stamp of the signature is too old or too new (Terraform provider).
		e.Err = errors.New(clockDrift(resp.Header.Get("Date"), now))
		return e
	}
	switch {
	case e.Errno == "" && e.Message == "":
		e.Err = errors.New("the answer is no error object of the API; is the host SOLIDserver itself?")
	case e.Status < 400 || e.Status > 499:
	case e.Status == http.StatusUnauthorized, slices.Contains(busy(), e.Status):
	default:
		e.Outcome = Refused
	}
	return e
}

// retryAfter reads the header of RFC 9110, section 10.2.3: seconds or a date.
// What it cannot read is 0.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(header); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}
