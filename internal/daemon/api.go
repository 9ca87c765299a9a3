package daemon

import (
	"context"
	"net/http"
	"net/url"
)

// maxQuestions is how many questions of [Daemon.Answer] are answered at a time.
// The next ones are told to come again.
const maxQuestions = 4

// Answer serves GET path with what answer makes of the query parameters, as JSON:
// read-only, for people and their programs. An error of answer is the fault of who
// asked, and comes back as {"error": "…"} with status 400; it must hold no secret.
// answer is called from several goroutines at once, looks at memory only, and
// bounds what it returns. Answer must be called before [Daemon.Run].
func (d *Daemon) Answer(path string, answer func(ctx context.Context, query url.Values) (any, error)) {
	d.mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
		select {
		case d.questions <- struct{}{}:
			defer func() { <-d.questions }()
		default:
			w.Header().Set("Retry-After", "1")
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": "too many questions at a time, ask again"})
			return
		}
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": "the query of the URL cannot be read"})
			return
		}
		doc, err := answer(r.Context(), query)
		if err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		writeJSON(w, http.StatusOK, doc)
	})
}
