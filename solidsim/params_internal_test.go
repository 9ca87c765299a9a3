package solidsim

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzReadCall checks that nothing in a request makes reading it panic, and
// that parameters come out as a client escaped them into the path.
func FuzzReadCall(f *testing.F) {
	f.Add("POST", "/rest/dns_rr_add", "rr_name=a&rr_name=b", `{"value1":"x"}`)
	f.Add("GET", "/rpc/dns_zone_list/WHERE/a='b%2Fc'", "limit=1", "")
	f.Add("PUT", "/rest/%zz", "%", `{"a":{}}`)
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		target, err := url.Parse("https://sim.example/" + strings.TrimPrefix(path, "/"))
		if err != nil {
			return
		}
		target.RawQuery = query
		r, err := http.NewRequest(http.MethodPost, "https://sim.example/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Method, r.URL = method, target
		if service, p, err := readCall(r); err == nil && (p == nil || strings.HasPrefix(service, "/")) {
			t.Errorf("service %q, parameters %v", service, p)
		}
		escaped := "/rest/" + url.PathEscape(path) + "/" + url.PathEscape(query) + "/" + url.PathEscape(body)
		p := make(params)
		if service, err := p.readPath(escaped); err != nil || service != path || p[query] != body {
			t.Errorf("%s became %q with %v, %v", escaped, service, p, err)
		}
	})
}
