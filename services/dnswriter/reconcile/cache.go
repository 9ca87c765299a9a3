package reconcile

import (
	"iter"
	"slices"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// cache holds all rows of the areas by name: what was read, kept current by
// what we write. It saves a read before each write; when it is wrong the write
// is refused, and the name is read. It is not safe for concurrent use.
type cache struct {
	rows     map[string][]dns.Row
	readings []*reading // under way
}

// reading is the reading of a whole area.
type reading struct {
	// touched are the names that were written or read since it began. Of them the
	// cache knows more than the reading, whose pages may be from before the write.
	touched map[string]struct{}
}

func newCache() *cache { return &cache{rows: make(map[string][]dns.Row)} }

// begin notes that the reading of an area begins. It must be ended by install or
// abandon.
func (c *cache) begin() *reading {
	r := &reading{touched: make(map[string]struct{})}
	c.readings = append(c.readings, r)
	return r
}

// abandon notes that a reading came to nothing.
func (c *cache) abandon(r *reading) {
	c.readings = slices.DeleteFunc(c.readings, func(o *reading) bool { return o == r })
}

// install puts the reading of a whole area in the place of what is known of it.
func (c *cache) install(r *reading, a area, read []dns.Row) {
	c.abandon(r)
	for name, rows := range c.rows {
		if _, touched := r.touched[name]; !touched {
			c.keep(name, slices.DeleteFunc(rows, func(row dns.Row) bool { return areaOf(row.Zone) == a }))
		}
	}
	for _, row := range read {
		if _, touched := r.touched[row.Name]; !touched {
			c.rows[row.Name] = append(c.rows[row.Name], row)
		}
	}
}

// drop forgets the rows of zones.
func (c *cache) drop(zone func(string) bool) {
	for name, rows := range c.rows {
		c.keep(name, slices.DeleteFunc(rows, func(row dns.Row) bool { return zone(row.Zone) }))
	}
}

// at returns the rows of a name. The result must not be changed, and is valid
// until the next change.
func (c *cache) at(name string) []dns.Row { return c.rows[name] }

// ours returns the names that have a row of ours.
func (c *cache) ours() iter.Seq[string] {
	return func(yield func(string) bool) {
		for name, rows := range c.rows {
			if slices.ContainsFunc(rows, ours) && !yield(name) {
				return
			}
		}
	}
}

// put replaces what is known of a name in a zone.
func (c *cache) put(zone, name string, rows []dns.Row) {
	others := slices.DeleteFunc(c.rows[name], func(row dns.Row) bool { return row.Zone == zone })
	c.set(name, append(others, rows...))
}

// add notes a row that we made.
func (c *cache) add(row dns.Row) {
	c.set(row.Name, append(c.rows[row.Name], row))
}

// remove notes that a row is gone.
func (c *cache) remove(gone dns.Row) {
	c.set(gone.Name, slices.DeleteFunc(c.rows[gone.Name], func(row dns.Row) bool {
		return row.Zone == gone.Zone && row.ID == gone.ID && row.Record.Same(gone.Record)
	}))
}

// set replaces all that is known of a name by something newer than any reading
// that is under way.
func (c *cache) set(name string, rows []dns.Row) {
	for _, r := range c.readings {
		r.touched[name] = struct{}{}
	}
	c.keep(name, rows)
}

func (c *cache) keep(name string, rows []dns.Row) {
	if len(rows) == 0 {
		delete(c.rows, name)
		return
	}
	c.rows[name] = rows
}
