package solidserver

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// What is no list is told apart.
func TestWhatElse(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		"":                                 "it is empty",
		" \n":                              "it is empty",
		"<!DOCTYPE html><html>Sign in":     "a page of HTML",
		`{"connected":false}`:              "SOLIDserver has no session for the call",
		`{"connected":true}`:               "of no known form",
		`{"errno":"9","errmsg":"no such"}`: `errno 9: "no such"`,
		"null":                             "of no known form",
		"OK":                               "it is no JSON",
		`{"connected":`:                    "it is no JSON",
		`[{"rr_id":"1"},`:                  "the answer is cut off",
		`[{"rr_id":"1"`:                    "the answer is cut off",
		`[{"rr_id":"1"}] x`:                "more than a list",
		`[{"rr_id":"1"}}`:                  "not a list of rows",
		`[{"errno":"5","errmsg":"sorry"}]`: `errno 5: "sorry"`,
		`[` + strings.Repeat(`{},`, 1000) + `{}]`: "more than 1000 rows",
	} {
		if rows, err := decodeRows[rrRow](answer{http.StatusOK, []byte(body)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is read as %v, %v; want %q", body, rows, err, want)
		}
	}
	for body, want := range map[string]string{
		`{"connected":false}`: "no ret_oid: it is {\"connected\":false}",
		"<html>":              "a page of HTML",
		`[{"ret_oid":"0"}]`:   "no ret_oid",
		`[{"ret_oi`:           "cut off",
		`{"ret_oid":{}}`:      "not a list",
	} {
		if id, err := decodeID([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is read as %q, %v; want %q", body, id, err, want)
		}
	}
}

// FuzzAnswer: whatever an appliance answers, it is read without harm. What is
// read of a list is no more than is in it, and an id was in the answer to a write.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{
		"", "[]", "{}", "null", "<html>", `{"connected":false}`, `[{"ret_oid":"12"}]`, `{"errno":"9","errmsg":"no","parameters":"rr_name"}`,
		`[{"errno":"0","total":"12"}]`, `[{"rr_id":12,"rr_type":"A","rr_full_name":"a.site.com","value1":"10.0.0.1","ttl":"600","dns_name":"s"}]`,
		`[{"rr_id":{"x":[1]},"rr_type":["A"],"ttl":-1}]`, `[{"dnszone_id":"1","dnszone_name":"a","dnszone_type":"master","dnszone_class_parameters":"dnsptr=1&%zz"}]`,
		`[{"rr_class_parameters":"managed_by=keastream&kea_source=us3&kea_host_id=5&keastream_digest=x"}]`, "[[[[[[[[", `["\ud800"]`, `{"errno":"9\n","errmsg":"x"}`,
		`[{"dnszone_id":"1\n","dnszone_name":"a","dnszone_type":"\u001b","dns_name":"s"}]`, `[{"rr_id":"1"}`,
	} {
		for _, status := range []int{200, 201, 204, 400, 401, 500} {
			f.Add(status, []byte(body))
		}
	}
	client := &Client{cfg: Config{Auth: Token}}
	s := client.Scope("internal", "s", "")
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a := answer{status, body}
		if rows, err := decodeRows[rrRow](a); err == nil {
			if len(rows) > pageSize || status != http.StatusNoContent && !json.Valid(body) {
				t.Fatalf("%d rows of %q", len(rows), body)
			}
			for _, r := range rows {
				of := rowSet{zone: "site.com", name: "a.site.com"}
				verified := s.verify(of, r)
				row, wanted := r.row(of)
				if wanted && verified == nil && row.ID == "" && row.Owner != nil {
					t.Fatalf("a row without an id is ours: %q", body)
				}
			}
		}
		if rows, err := decodeRows[zoneRow](a); err == nil {
			mine, others, err := s.inView(rows)
			if err == nil && len(mine) > 0 {
				checkText(t, describe(mine)+quoted(others))
				_, _ = masters(mine), mine[0].zone()
			}
			if err != nil {
				checkText(t, err.Error())
			}
		} else {
			checkText(t, err.Error())
		}
		if id, err := decodeID(body); err == nil && (id == "" || id == "0" || !json.Valid(body)) {
			t.Fatalf("id %q of %q", id, body)
		}
		recorder := httptest.NewRecorder()
		e := client.refusal(call{http.MethodPost, "dns_rr_add", nil}, recorder.Result(), body)
		checkText(t, e.Error())
	})
}

// checkText checks that a text can be shown and logged as it is.
func checkText(t *testing.T, text string) {
	t.Helper()
	if len(text) > 4000 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		t.Fatalf("the text is %q", text)
	}
}
