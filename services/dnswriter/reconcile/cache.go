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
	rows     rows
	readings []*reading // under way
}

// reading is the reading of a whole area.
type reading struct {
	// touched are the names that were written or read since it began. Of them the
	// cache knows more than the reading, whose pages may be from before the write.
	touched map[string]struct{}
}

func newCache() *cache { return &cache{rows: newRows()} }

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
	c.rows.drop(func(name, zone string) bool {
		_, touched := r.touched[name]
		return !touched && areaOf(zone) == a
	})
	for _, row := range read {
		if _, touched := r.touched[row.Name]; !touched {
			c.rows.add(row)
		}
	}
}

// drop forgets the rows of zones.
func (c *cache) drop(gone func(zone string) bool) {
	c.rows.drop(func(_, zone string) bool { return gone(zone) })
}

// dropAt forgets the rows of a name in zones.
func (c *cache) dropAt(name string, gone func(zone string) bool) {
	c.rows.dropAt(name, func(row dns.Row) bool { return gone(row.Zone) })
}

// at returns the rows of a name.
func (c *cache) at(name string) []dns.Row { return c.rows.at(name) }

// ours returns the names that have a row of ours.
func (c *cache) ours() iter.Seq[string] { return c.rows.ours() }

// put replaces what is known of a name in a zone.
func (c *cache) put(zone, name string, rows []dns.Row) {
	c.touch(name)
	c.rows.dropAt(name, func(row dns.Row) bool { return row.Zone == zone })
	for _, row := range rows {
		c.rows.add(row)
	}
}

// add notes a row that we made.
func (c *cache) add(row dns.Row) {
	c.touch(row.Name)
	c.rows.add(row)
}

// remove notes that a row is gone.
func (c *cache) remove(gone dns.Row) {
	c.touch(gone.Name)
	c.rows.dropAt(gone.Name, func(row dns.Row) bool {
		return row.Zone == gone.Zone && row.ID == gone.ID && row.Record.Same(gone.Record)
	})
}

// touch notes that something newer than any reading that is under way is known of
// a name.
func (c *cache) touch(name string) {
	for _, r := range c.readings {
		r.touched[name] = struct{}{}
	}
}
