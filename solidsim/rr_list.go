package solidsim

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// rrSource finds the rows of a clause with the indexes. It takes the parts that
// all have to be true one by one: the name and the id are looked up; what is
// about the zone, the view and the server alone is asked of each zone, and not
// of each of its rows; only the rest is asked of rows.
func (st *store) rrSource(l *listing[*rr]) source[*rr] {
	p := newPlan(l)
	src := source[*rr]{id: func(r *rr) int64 { return r.id }, match: p.row}
	switch {
	case p.named:
		src.lists = [][]*rr{p.bounded(st.byName[p.name])}
		src.match = l.match
	case p.zone == nil:
		src.lists = [][]*rr{p.bounded(st.rows)}
	default:
		total := 0
		for _, z := range st.zones {
			if p.zone(z) {
				list := p.bounded(z.rows)
				src.lists = append(src.lists, list)
				total += len(list)
			}
		}
		// Most of all rows: it is cheaper to go through all than to merge.
		if len(src.lists) > 1 && total > len(st.rows)/2 {
			src.lists = [][]*rr{p.bounded(st.rows)}
			src.match = l.match
		}
	}
	return src
}

// A plan is a clause about records, taken apart.
type plan struct {
	named       bool
	name        string // of named: lower case
	first, last int64  // ids
	zone        func(*zone) bool
	row         func(*rr) bool // nil: there is no more to ask
}

func newPlan(l *listing[*rr]) plan {
	p := plan{last: math.MaxInt64}
	ofZone := zoneIdentity()
	var zoneTerms, rowTerms allOf
	for _, term := range conjuncts(l.where) {
		switch c, single := term.(condition); {
		case single && c.column == "rr_full_name" && c.operator == equal && !p.named:
			p.named, p.name = true, strings.ToLower(c.literals[0])
		case single && c.column == "rr_id" && p.bound(c):
		case about(term, ofZone):
			zoneTerms = append(zoneTerms, term)
		default:
			rowTerms = append(rowTerms, term)
		}
	}
	// Both compile: the whole clause did.
	if len(zoneTerms) > 0 {
		p.zone, _ = compileWhere(zoneTerms, ofZone)
	}
	if len(rowTerms) > 0 {
		p.row, _ = compileWhere(rowTerms, l.selected)
	}
	return p
}

// bound takes a condition on the id, if it is one that bounds it.
func (p *plan) bound(c condition) bool {
	if len(c.literals) != 1 {
		return false
	}
	n, err := strconv.ParseInt(c.literals[0], 10, 64)
	if err != nil || n == math.MaxInt64 || n == math.MinInt64 {
		return false
	}
	switch c.operator {
	case equal:
		p.first, p.last = max(p.first, n), min(p.last, n)
	case greater:
		p.first = max(p.first, n+1)
	case greaterOrEqual:
		p.first = max(p.first, n)
	case less:
		p.last = min(p.last, n-1)
	case lessOrEqual:
		p.last = min(p.last, n)
	default:
		return false
	}
	return true
}

// bounded is the part of a list between the bounds.
func (p *plan) bounded(list rows) rows {
	list = list.from(p.first)
	if p.last == math.MaxInt64 {
		return list
	}
	end, _ := slices.BinarySearchFunc(list, p.last, func(r *rr, last int64) int {
		if r.id <= last {
			return -1
		}
		return 1
	})
	return list[:end]
}
