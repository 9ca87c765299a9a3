package solidserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
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
		return fmt.Errorf("errno %s: %q", show(string(p.Errno)), show(string(p.Message)))
	}
	return nil
}

// decodeRows reads the rows of a list. No rows are the status 204, or an empty
// array; an empty body with another status is no answer.
func decodeRows[T interface{ check() error }](a answer) ([]T, error) {
	if a.status == http.StatusNoContent {
		return nil, nil
	}
	if body := bytes.TrimLeft(a.body, " \t\r\n"); len(body) == 0 || body[0] != '[' {
		return nil, errors.New("the answer is not a list in JSON")
	}
	var rows []T
	if err := json.Unmarshal(a.body, &rows); err != nil {
		return nil, fmt.Errorf("the answer is not a list of rows: %w", err)
	}
	for _, row := range rows {
		if err := row.check(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// decodeObjects reads an array of objects or one bare object.
func decodeObjects[T any](body []byte) ([]T, error) {
	var objects []T
	if json.Unmarshal(body, &objects) == nil {
		return objects, nil
	}
	var single T
	if err := json.Unmarshal(body, &single); err != nil {
		return nil, errors.New("the answer is not JSON of a known form")
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
		return "", errors.New("the answer has no ret_oid")
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
// of those statuses are not: 408 and 429 are overload, and 401 was seen on
// internal errors of the appliance too.
func (made call) refusal(resp *http.Response, body []byte) *Error {
	e := &Error{
		Method: made.method, Service: made.service, Status: resp.StatusCode,
		RetryAfter: retryAfter(resp.Header.Get("Retry-After"), time.Now()),
	}
	if objects, err := decodeObjects[problem](body); err == nil && len(objects) > 0 {
		e.Errno, e.Message, e.Parameter = string(objects[0].Errno), string(objects[0].Message), string(objects[0].Parameter)
	}
	switch {
	case e.Errno == "" && e.Message == "":
		e.Err = errors.New("the answer is no error object of the API; is the host SOLIDserver itself?")
	case e.Status < 400 || e.Status > 499:
	case e.Status == http.StatusUnauthorized, e.Status == http.StatusRequestTimeout, e.Status == http.StatusTooManyRequests:
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
