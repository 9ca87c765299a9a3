package solidsim

import (
	"cmp"
	"slices"
)

// rows are records by id, ascending, each id once. New ids are the highest, so
// an insert is nearly always an append.
type rows []*rr

func (r rows) position(id int64) (int, bool) {
	return slices.BinarySearchFunc(r, id, func(r *rr, id int64) int { return cmp.Compare(r.id, id) })
}

// get returns the row with this id, or nil.
func (r rows) get(id int64) *rr {
	if i, found := r.position(id); found {
		return r[i]
	}
	return nil
}

// from returns the rows with this id or a higher one.
func (r rows) from(id int64) rows {
	i, _ := r.position(id)
	return r[i:]
}

func (r *rows) insert(row *rr) {
	if n := len(*r); n == 0 || (*r)[n-1].id < row.id {
		*r = append(*r, row)
		return
	}
	i, _ := r.position(row.id)
	*r = slices.Insert(*r, i, row)
}

func (r rows) replace(row *rr) {
	if i, found := r.position(row.id); found {
		r[i] = row
	}
}

func (r *rows) remove(id int64) {
	if i, found := r.position(id); found {
		*r = slices.Delete(*r, i, i+1)
	}
}
