package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keastream/keastream/internal/daemon"
	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

// explainVerb says why a name is in DNS as it is.
type explainVerb struct {
	Sight   sight   `embed:""`
	Caution caution `embed:""`
	URL     string  `name:"url" env:"-" default:"http://127.0.0.1:9642" help:"The dnswriter that is asked, which knows also what it waits for; off to look at the stream and at SOLIDserver, for which --dns-zone and the settings of SOLIDserver are needed (default: ${default})."`
	JSON    bool    `name:"json" env:"-" help:"Print one JSON object."`
	Query   string  `arg:"" name:"name|ip" help:"A host name, complete or short, a reverse name, or an address."`
}

// off is the value of settings that can be switched off.
const off = "off"

// Validate reports every setting that cannot work. Those of the stream and of
// SOLIDserver are not needed when a dnswriter is asked.
func (v explainVerb) Validate() error {
	if v.URL == off {
		return errors.Join(append(v.Sight.check(), v.Caution.check()...)...)
	}
	if u, err := url.Parse(v.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return errors.New("--url: give it as http://HOST:PORT, without user and password, or off")
	}
	return nil
}

// explainAnswer is what is said about a question.
type explainAnswer struct {
	Query string `json:"query"`
	cutList
	Names []explanation `json:"names"`
}

// explanation is one name in one scope.
type explanation struct {
	reconcile.Explanation
	Removed []restorable `json:"removed"`
	// Verified is how far the last changes have come, by --verify-dns.
	Verified []verification `json:"verified"`
}

// verification is how far a change of a record has come: accepted by SOLIDserver,
// published by it, verified by the answers of the authoritative servers, or
// unverified, with the reason.
type verification struct {
	Record    string    `json:"record"`
	Gone      bool      `json:"gone"`
	Stage     string    `json:"stage"`
	Accepted  time.Time `json:"accepted,omitzero"`
	Published time.Time `json:"published,omitzero"`
	Asked     time.Time `json:"asked,omitzero"`
	Verified  time.Time `json:"verified,omitzero"`
	Reason    string    `json:"reason,omitzero"`
}

// restorable is a reservation that is gone, with what brings it back.
type restorable struct {
	reconcile.RemovedItem
	RestoreSQL string `json:"restore_sql"`
}

// explain answers a question for all scopes.
func (all scopes) explain(query string) (explainAnswer, error) {
	answer := explainAnswer{Query: query, Names: []explanation{}}
	for _, s := range all {
		list, total, err := s.Explain(query, explained)
		if err != nil {
			return answer, err
		}
		answer.Total += total
		for _, e := range list {
			of := explanation{Explanation: e, Removed: []restorable{}, Verified: s.verified(e.Name)}
			for _, gone := range e.Removed {
				of.Removed = append(of.Removed, restorable{gone, restoreSQL(gone)})
			}
			answer.Names = append(answer.Names, of)
		}
	}
	answer.Truncated = answer.Total > len(answer.Names)
	return answer, nil
}

// verified returns how far the last changes of a name have come.
func (s scope) verified(name string) []verification {
	all := []verification{}
	for _, state := range s.verify.State(name) {
		all = append(all, verification{
			Record: string(state.Record.Type) + " " + state.Record.Value, Gone: state.Gone, Stage: string(state.Stage),
			Accepted: state.Accepted, Published: state.Published, Asked: state.Asked, Verified: state.Verified, Reason: state.Reason,
		})
	}
	return all
}

// Run prints what a running dnswriter says, or what a look at the name tells.
func (v *explainVerb) Run(ctx context.Context, d *daemon.Daemon) error {
	if v.URL != off {
		answer, err := askDNSWriter(ctx, v.URL, v.Query)
		if err != nil {
			return err
		}
		return v.print(d.Out, answer)
	}
	return v.Sight.look(ctx, d, v.Caution, func(ctx context.Context, seen seen) error {
		if err := seen.scopes.each(func(_ int, s scope) error { return s.Look(ctx, v.Query) }); err != nil {
			return err
		}
		answer, err := seen.scopes.explain(v.Query)
		if err != nil {
			return err
		}
		return v.print(d.Out, answer)
	})
}

const (
	askTimeout = 30 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 16 << 20
)

// askDNSWriter asks a running dnswriter.
func askDNSWriter(ctx context.Context, base, query string) (answer explainAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	address := strings.TrimSuffix(base, "/") + "/api/v1/explain?" + url.Values{"q": {query}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer, fmt.Errorf("ask the dnswriter: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer, fmt.Errorf("%w: is it running there? Give its --http-addr with --url, or --url off to look without it", err)
	}
	defer resp.Body.Close()
	var doc struct {
		explainAnswer
		Error string `json:"error"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&doc)
	switch {
	case resp.StatusCode != http.StatusOK && err == nil && doc.Error != "":
		return answer, fmt.Errorf("the dnswriter at %s: %s", base, printable(doc.Error))
	case resp.StatusCode != http.StatusOK:
		return answer, fmt.Errorf("%s answers with status %d: it is no dnswriter, or one of another version", base, resp.StatusCode)
	case err != nil:
		return answer, fmt.Errorf("read the answer of %s: %w", base, err)
	}
	return doc.explainAnswer, nil
}

func (v *explainVerb) print(out io.Writer, answer explainAnswer) error {
	if v.JSON {
		return json.NewEncoder(out).Encode(answer)
	}
	var text strings.Builder
	told := make(map[events.Key]bool)
	for _, e := range answer.Names {
		e.write(&text, told)
	}
	if answer.Truncated {
		fmt.Fprintf(&text, "and %d more names\n", answer.Total-len(answer.Names))
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// write says it for people, and the way back of each reservation once.
func (e explanation) write(text *strings.Builder, told map[events.Key]bool) {
	line := func(format string, args ...any) { fmt.Fprintln(text, printable(fmt.Sprintf(format, args...))) }
	line("%s (scope %s): %s", e.Name, e.Scope, strings.ReplaceAll(e.State, "_", " "))
	line("  %s", e.Decision)
	for _, c := range e.Claims {
		line("  asked for: %s %s, by %s/%d %q, %s %.64s, since %s", c.Type, c.Value, c.Source, c.HostID, c.Hostname, c.IdentifierType, c.Identifier, stampUTC(c.Since))
		if c.Ignored != "" {
			line("      does not count: %s", c.Ignored)
		}
	}
	for _, row := range e.Rows {
		whose := row.Owner
		if len(row.Hosts) > 0 {
			whose += ", for " + strings.Join(row.Hosts, " ")
		}
		switch {
		case row.Pending:
			whose += ", accepted and not published yet"
		case row.Deleting:
			whose += ", on its way out"
		}
		line("  in DNS: %s %s, ttl %d, %s", row.Type, row.Value, row.TTL, whose)
	}
	for _, s := range e.Steps {
		line("  to be done: %s", s.Step)
		for _, why := range s.Withheld {
			line("      withheld: %s", why)
		}
	}
	for _, c := range e.Conflicts {
		line("  conflict: %s %s since %s: wanted %s; DNS has %s", c.Kind, c.Type, stampUTC(c.Since),
			strings.Join(c.Wanted, ", "), cmp.Or(strings.Join(c.Present, ", "), "nothing"))
	}
	for _, p := range e.Parked {
		line("  parked: %s/%d %q: %s: %s", p.Source, p.HostID, p.Hostname, p.Reason, p.Detail)
	}
	if e.LeftOut > 0 {
		line("  and %s that ask or asked for it", plural(e.LeftOut, "more reservation"))
	}
	if c := e.LastChange; c != nil {
		what := c.Record
		if c.Was != "" {
			what += ", before " + c.Was
		}
		line("  last change: %s %s, %s", c.Op, what, stampUTC(c.At))
	}
	if f := e.LastFailure; f != nil {
		line("  last failure: %s, tried again %s: %s", stampUTC(f.At), stampUTC(f.Retry), f.Error)
	}
	for _, v := range e.Verified {
		v.write(line)
	}
	for _, gone := range e.Removed {
		key := events.Key{Source: gone.Source, HostID: gone.HostID}
		line("  gone: %s/%d %q, deleted %s", gone.Source, gone.HostID, gone.Hostname, stampUTC(gone.At))
		if told[key] {
			continue
		}
		told[key] = true
		line("  to restore it in Kea's database:")
		for sql := range strings.Lines(gone.RestoreSQL) {
			line("      %s", strings.TrimSuffix(sql, "\n"))
		}
	}
}

func (v verification) write(line func(format string, args ...any)) {
	what := v.Record
	if v.Gone {
		what = "removal of " + what
	}
	line("  %s: %s, accepted %s", what, v.Stage, stampUTC(v.Accepted))
	if !v.Published.IsZero() {
		line("      published %s", stampUTC(v.Published))
	}
	switch {
	case !v.Verified.IsZero():
		line("      verified %s", stampUTC(v.Verified))
	case v.Reason != "":
		line("      asked %s: %s", stampUTC(v.Asked), v.Reason)
	}
}
