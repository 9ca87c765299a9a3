package reconcile

import (
	"slices"

	"github.com/keastream/keastream/services/dnswriter/dns"
)

// cache holds all rows of the zones by name: what was read, kept current by
// what we write. It saves a read before each write; when it is wrong the write
// is refused, and the name is read. It is not safe for concurrent use.
type cache struct {
	rows map[string][]dns.Row
	// touched are the names that were written or read since the reading of a
	// whole zone began; nil if none was. Of them the cache knows more than the
	// reading, whose pages may be from before the write.
	touched map[string]bool
}

func newCache() *cache { return &cache{rows: make(map[string][]dns.Row)} }

// begin notes that the reading of a zone begins. There is one at a time.
func (c *cache) begin() { c.touched = make(map[string]bool) }

// install puts the reading of a whole zone in the place of what is known of it.
func (c *cache) install(zone string, read []dns.Row) {
	inZone := func(row dns.Row) bool { return row.Zone == zone }
	touched := c.touched
	c.touched = nil
	for name, rows := range c.rows {
		if !touched[name] {
			c.set(name, slices.DeleteFunc(rows, inZone))
		}
	}
	for _, row := range read {
		if !touched[row.Name] {
			c.rows[row.Name] = append(c.rows[row.Name], row)
		}
	}
}

// at returns the rows of a name. The result must not be changed, and is valid
// until the next change.
func (c *cache) at(name string) []dns.Row { return c.rows[name] }

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

func (c *cache) set(name string, rows []dns.Row) {
	if c.touched != nil {
		c.touched[name] = true
	}
	if len(rows) == 0 {
		delete(c.rows, name)
		return
	}
	c.rows[name] = rows
}
