package solidsim

import (
	"fmt"
	"slices"
)

// resynchronize lists all rows of a server under new ids.
func (st *store) resynchronize(name string, loseClassParameters bool) error {
	s := st.server(name)
	if s == nil {
		return fmt.Errorf("resynchronize: DNS server %q does not exist", name)
	}
	for _, z := range st.zones {
		if z.server != s {
			continue
		}
		for _, old := range slices.Clone(z.rows) {
			renewed := *old
			renewed.id = 0
			if loseClassParameters {
				renewed.class, renewed.classParams = "", nil
			}
			st.unlist(old)
			st.list(&renewed)
			st.renew(old, &renewed)
		}
	}
	return nil
}

// renew puts the new row in the place of the old one where it was pushed to,
// or is about to be.
func (st *store) renew(old, now *rr) {
	if old.origin != 0 {
		st.renewPushed(old.zone.server, old.key(), now.key(), old, now)
		return
	}
	for _, t := range old.zone.server.targets() {
		st.renewPushed(t, old.key(), now.key(), old, now)
		for i := range t.queue {
			switch p := &t.queue[i]; {
			case p.row == old:
				p.row = now
			case p.row != nil && p.row.id == old.id:
				earlier := *p.row // one that is not listed any more
				earlier.id = now.id
				p.row = &earlier
			}
		}
	}
}

func (st *store) renewPushed(t *server, oldKey, newKey int64, old, now *rr) {
	have := t.rows[oldKey]
	if have == nil {
		return
	}
	delete(t.rows, oldKey)
	t.rows[newKey] = have
	switch {
	case have == old:
		st.unserve(have)
		t.rows[newKey] = now
		st.serve(now)
	case have.zone == old.zone: // the version before one that was not pushed yet
		st.unserve(have)
		before := *have
		before.id = now.id
		t.rows[newKey] = &before
		st.serve(&before)
	default: // a copy on a member
		have.origin = now.id
	}
}
