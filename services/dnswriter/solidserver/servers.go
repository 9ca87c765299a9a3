package solidserver

import (
	"context"
	"fmt"
	"slices"
)

// serverRow is a row of dns_server_list.
type serverRow struct {
	problem
	ID       cell `json:"dns_id"`
	Name     text `json:"dns_name"`
	ParentID text `json:"vdns_parent_id"`
}

func (r serverRow) id() cell { return r.ID }

// whyNone says more of a DNS server and a view in which nothing was found:
// mostly one is spelled differently. It is given the views in which there is
// something. What it says goes behind the error; if the user may not list
// servers it is less.
func (s *Scope) whyNone(ctx context.Context, views []string) string {
	switch {
	case slices.Equal(views, []string{""}):
		return fmt.Sprintf(" in view %q: the DNS server has no views, so leave out --dns-view", s.view)
	case len(views) > 0:
		return fmt.Sprintf(" in view %q, but in view %s: check --dns-view, whose value is case-sensitive", s.view, quoted(views))
	}
	const hint = "; check --dns-server, whose value is case-sensitive, and --dns-zone"
	clause, err := where(condition{colParent, "0"})
	if err != nil {
		return hint
	}
	servers, err := list[serverRow, string]{
		client:  s.client,
		object:  "dns_server",
		columns: "dns_id,dns_name,vdns_parent_id",
		order:   "dns_id",
		clause:  clause,
		verify:  func(serverRow) error { return nil },
		convert: func(r serverRow) (string, bool) { return string(r.Name), true },
	}.few(ctx, 0)
	switch {
	case err != nil:
		return hint
	case !slices.Contains(servers, s.server):
		slices.Sort(servers)
		return fmt.Sprintf("; there is no DNS server %q to write to: give one of %s with --dns-server, which is case-sensitive",
			s.server, quoted(servers))
	}
	return "; the DNS server is there: create the zone on it as a master zone, or check --dns-zone (of add: --zone)"
}
