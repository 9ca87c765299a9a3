package solidserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
)

// pageSize is the number of rows that one call asks for.
const pageSize = 1000

// wholeListAttempts is how often a list is read from the start when it does not
// hold still.
const wholeListAttempts = 3

// errMoved tells that rows came or went while they were read.
var errMoved = errors.New("rows came or went while they were read")

// A list is what a list service of the API has for a clause, in rows of type
// Row, made into Items.
type list[Row listed, Item any] struct {
	client  *Client
	object  string // "dns_rr": the services are dns_rr_list and dns_rr_count
	columns string // for SELECT
	order   string // a column that is distinct: without it pages overlap by chance
	clause  string // made by where
	// verify refuses a row that was not asked for.
	verify func(Row) error
	// convert returns false for a row that nobody wants.
	convert func(Row) (Item, bool)
	// settle makes one item of those that are in a list twice, because a row was
	// deleted and created anew while it was read; nil if they may stay.
	settle func([]Item) []Item
}

// listed is a row of a list.
type listed interface {
	check() error // what the API says of the row in place of its values
	id() cell
}

// all returns every item of a list, or an error.
//
// A list that ends early would make rows look as if they were not there. So
// the rows are counted first, and a list with fewer is not taken, unless a second
// count tells that rows went meanwhile.
func (l list[Row, Item]) all(ctx context.Context) ([]Item, error) {
	for attempt := 1; ; attempt++ {
		total, err := l.count(ctx)
		if err != nil {
			return nil, err
		}
		read, err := l.pages(ctx, 2*total+mayCome)
		if err == nil && len(read.seen) < total {
			if total, err = l.count(ctx); err == nil && len(read.seen) < total {
				err = fmt.Errorf("%w: %d were counted, %d were listed", errMoved, total, len(read.seen))
			}
		}
		switch {
		case err == nil && read.moved && l.settle != nil:
			return l.settle(read.items), nil
		case err == nil:
			return read.items, nil
		}
		if !errors.Is(err, errMoved) || attempt == wholeListAttempts {
			return nil, err
		}
	}
}

// few returns the items of a list that has few. One page is all of them, unless
// it is so large that a server with smaller pages may have held some back, or has
// a row twice: then the whole list is read. The first attempt waits for the
// admission of ahead more calls.
func (l list[Row, Item]) few(ctx context.Context, ahead int) ([]Item, error) {
	page, err := l.page(ctx, 0, ahead)
	if err != nil {
		return nil, err
	}
	read := l.begin()
	if _, err := read.add(page, 0); err != nil || len(page) >= pageSize/10 {
		return l.all(ctx)
	}
	return read.items, nil
}

// count asks how many rows the clause is true for.
func (l list[Row, Item]) count(ctx context.Context) (int, error) {
	type countRow struct {
		problem
		Total text `json:"total"`
	}
	service := l.object + "_count"
	result, err := l.client.read(ctx, service, url.Values{"WHERE": {l.clause}}, 0)
	if err != nil {
		return 0, err
	}
	rows, err := decodeRows[countRow](result)
	if err == nil && len(rows) == 0 {
		return 0, nil
	}
	if err == nil && len(rows) > 1 {
		err = fmt.Errorf("the answer has %d rows, not one", len(rows))
	}
	total := 0
	if err == nil {
		if total, err = strconv.Atoi(string(rows[0].Total)); err == nil && total < 0 || total > maxRows {
			err = fmt.Errorf("it counts %d rows", total)
		}
	}
	if err != nil {
		return 0, getCall(service).unreadable(result, err)
	}
	return total, nil
}

// maxIdlePages is how many pages in a row may have nothing new. A few do at the
// end of a list; more do only while rows go by the hundred, or at a server that
// does not do as it is asked.
const maxIdlePages = 20

// maxRows is how many rows may be counted: no DNS server has as many, and reading
// them would take the memory of the host.
const maxRows = 10_000_000

// mayCome is how many rows may come while a list is read, beyond as many as there
// were. An answer that goes on making up rows would fill the memory.
const mayCome = 20_000

// pages reads page after page, up to a number of rows.
//
// A page may be shorter than was asked for and is no sign of the end: that is one
// with nothing new that is also shorter than others were. Rows that are added
// meanwhile do no harm: they get higher ids and come at the end. But when a row
// goes, all that follow move forward. So a page begins with a row of those before
// it. If it does not, rows may have been passed over: the reading goes back until
// it does, and goes on with pages that have more in common, so that as many rows
// may go the next time.
func (l list[Row, Item]) pages(ctx context.Context, most int) (*reading[Row, Item], error) {
	read := l.begin()
	offset, common, longest := 0, 1, 1
	for idle := 0; idle <= maxIdlePages; idle++ {
		page, err := l.page(ctx, offset, 0)
		if err != nil {
			return nil, err
		}
		if offset > 0 && (len(page) == 0 || !read.has(page[0])) {
			read.moved = true
			common = min(2*common, pageSize/2)
			offset = max(0, offset-common)
			continue
		}
		longest = max(longest, len(page))
		fresh, err := read.add(page, offset)
		switch {
		case err != nil:
			return nil, err
		case len(read.seen) > most:
			return nil, fmt.Errorf("the list goes on after %d rows, far more than were counted", len(read.seen))
		case fresh > 0:
			idle = 0
			offset += len(page) - max(1, min(common, len(page)/2))
		case len(page) > 1 && len(page) >= longest:
			offset += len(page) - 1
		default:
			return read, nil
		}
	}
	return nil, fmt.Errorf("%w: %d calls for what follows row %d told nothing new", errMoved, maxIdlePages, len(read.seen))
}

// page reads up to pageSize rows, from offset on. The first attempt waits for
// the admission of ahead more calls.
func (l list[Row, Item]) page(ctx context.Context, offset, ahead int) ([]Row, error) {
	service := l.object + "_list"
	result, err := l.client.read(ctx, service, url.Values{
		"SELECT":  {l.columns},
		"WHERE":   {l.clause},
		"ORDERBY": {l.order},
		"limit":   {strconv.Itoa(pageSize)},
		"offset":  {strconv.Itoa(offset)},
	}, ahead)
	if err != nil {
		return nil, err
	}
	rows, err := decodeRows[Row](result)
	for _, row := range rows {
		if err == nil {
			err = l.verify(row)
		}
	}
	if err != nil {
		return nil, getCall(service).unreadable(result, err)
	}
	return rows, nil
}

// reading is a list that is read page by page.
type reading[Row listed, Item any] struct {
	convert func(Row) (Item, bool)
	seen    map[cell]struct{} // ids of all rows
	items   []Item
	moved   bool // rows went while it was read
}

func (l list[Row, Item]) begin() *reading[Row, Item] {
	return &reading[Row, Item]{convert: l.convert, seen: make(map[cell]struct{})}
}

func (r *reading[Row, Item]) has(row Row) bool {
	_, ok := r.seen[row.id()]
	return ok
}

// add takes in a page that was read from offset on, and returns how many of its
// rows are new: the last ones.
func (r *reading[Row, Item]) add(page []Row, offset int) (fresh int, err error) {
	known := len(r.seen)
	for _, row := range page {
		if r.has(row) {
			// So it stands where it was, behind fewer rows than are known.
			if fresh > 0 || offset >= known {
				return 0, fmt.Errorf("%w: row %s was listed twice", errMoved, plain(string(row.id().text)))
			}
			continue
		}
		fresh++
		r.seen[row.id()] = struct{}{}
		if item, wanted := r.convert(row); wanted {
			r.items = append(r.items, item)
		}
	}
	return fresh, nil
}
