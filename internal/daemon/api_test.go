package daemon_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/keastream/keastream/internal/daemon"
)

func TestAnswer(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, daemon.Settings{HTTPAddr: "127.0.0.1:0"})
	d.Answer("/api/v1/thing", func(_ context.Context, query url.Values) (any, error) {
		if query.Get("q") == "" {
			return nil, errors.New("q: is not given")
		}
		return map[string]string{"q": query.Get("q")}, nil
	})
	base := serve(t, d) + "/api/v1/thing"
	for _, test := range []struct {
		method, query string
		status        int
		says          string
	}{
		{http.MethodGet, "?q=a%3Cscript%3E%0A", 200, `"q": "a\u003cscript\u003e\n"`},
		{http.MethodHead, "?q=a", 200, ""},
		{http.MethodGet, "", 400, `"error": "q: is not given"`},
		{http.MethodGet, "?q=%zz", 400, "cannot be read"},
		{http.MethodPost, "?q=a", 405, ""},
		{http.MethodPut, "?q=a", 405, ""},
		{http.MethodDelete, "?q=a", 405, ""},
	} {
		status, body := request(t, test.method, base+test.query, nil)
		if status != test.status || !strings.Contains(body, test.says) {
			t.Errorf("%s %s: status %d, want %d: %s", test.method, test.query, status, test.status, body)
		}
	}
}

// More questions at a time than a few are sent away instead of piling up.
func TestAnswersAreFewAtATime(t *testing.T) {
	t.Parallel()
	d := newDaemon(t, daemon.Settings{HTTPAddr: "127.0.0.1:0"})
	asked, free := make(chan struct{}), make(chan struct{})
	d.Answer("/api/v1/thing", func(context.Context, url.Values) (any, error) {
		asked <- struct{}{}
		<-free
		return "well", nil
	})
	base := serve(t, d) + "/api/v1/thing"
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			if status, body := get(t, base); status != 200 {
				t.Errorf("status %d: %s", status, body)
			}
		})
		<-asked
	}
	if status, _ := get(t, base); status != http.StatusServiceUnavailable {
		t.Errorf("the fifth has status %d", status)
	}
	close(free)
	asking.Wait()
}
