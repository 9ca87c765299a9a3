package solidsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// params are the parameters of one call.
type params map[string]string

// maxBody is the largest request body that is read, in bytes.
const maxBody = 1 << 20

// readCall takes the name of the service from the path and the parameters from
// the rest of it (the old form /rest/<service>/WHERE/<expr>, pairs of name and
// value), from the query string, for every method, and from a JSON object in the
// body of a POST, PUT or DELETE. Clients send a JSON content type without a body,
// so an empty body is no parameters. The query string wins over the path, that
// over the body, and of one name in the query string the last value.
func readCall(r *http.Request) (service string, p params, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", nil, refuse(errnoParameter, "the query string is not url-encoded")
	}
	p = make(params, len(query))
	if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodDelete {
		if err := p.readBody(r.Body); err != nil {
			return "", nil, err
		}
	}
	if service, err = p.readPath(r.URL.EscapedPath()); err != nil {
		return "", nil, err
	}
	for key, values := range query {
		p[key] = values[len(values)-1]
	}
	return service, p, nil
}

// readPath returns the name of the service, "" for a path that is neither below
// /rest nor below /rpc, and puts the parameters into p.
func (p params) readPath(escaped string) (service string, err error) {
	rest, found := strings.CutPrefix(escaped, "/rest/")
	if !found {
		if rest, found = strings.CutPrefix(escaped, "/rpc/"); !found {
			return "", nil
		}
	}
	segments := strings.Split(rest, "/")
	for i, segment := range segments {
		if segments[i], err = url.PathUnescape(segment); err != nil {
			return "", refuse(errnoParameter, "the path is not url-encoded")
		}
	}
	pairs := segments[1:]
	if len(pairs)%2 != 0 {
		return "", refuse(errnoParameter, "after the service the path has pairs of a parameter and its value")
	}
	for pair := range slices.Chunk(pairs, 2) {
		p[pair[0]] = pair[1]
	}
	return segments[0], nil
}

func (p params) readBody(r io.Reader) error {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	if len(body) > maxBody {
		return refuse(errnoParameter, fmt.Sprintf("the body is larger than %d bytes", maxBody))
	}
	if len(body) == 0 {
		return nil
	}
	var fields map[string]any
	if err := json.Unmarshal(body, &fields); err != nil {
		return refuse(errnoParameter, "the body is not a JSON object")
	}
	for key, value := range fields {
		switch v := value.(type) {
		case nil:
		case string:
			p[key] = v
		case bool:
			p[key] = strconv.FormatBool(v)
		case float64:
			p[key] = strconv.FormatFloat(v, 'f', -1, 64)
		default:
			return refuseParameter(key, "", "a value in the body is a string, a number or a boolean")
		}
	}
	return nil
}

// first returns the first of these parameters that is not empty, and its name.
func (p params) first(names ...string) (key, value string) {
	i := slices.IndexFunc(names, func(name string) bool { return p[name] != "" })
	if i < 0 {
		return names[0], ""
	}
	return names[i], p[names[i]]
}

// integer returns the parameter, and false if it is absent or empty.
func (p params) integer(name string, smallest int64) (int64, bool, error) {
	if p[name] == "" {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(p[name], 10, 64)
	if err != nil || n < smallest || n > math.MaxInt32 {
		return 0, false, refuseParameter(name, p[name], fmt.Sprintf("an integer from %d to %d is needed", smallest, math.MaxInt32))
	}
	return n, true, nil
}

// choice returns the parameter, one of the options, the first if it is absent.
func (p params) choice(name string, options ...string) (string, error) {
	value, given := p[name]
	if !given || value == "" {
		return options[0], nil
	}
	if !slices.Contains(options, value) {
		return "", refuseParameter(name, value, fmt.Sprintf("the value must be one of %q", options))
	}
	return value, nil
}

// asRefusal returns the refusal in an error; any other error is the fault of
// the connection and has no answer.
func asRefusal(err error) (*refusal, bool) { return errors.AsType[*refusal](err) }
