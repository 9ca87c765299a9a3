package cabinet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/keastream/keastream/pkg/events"
	"go.yaml.in/yaml/v3"
)

// ErrNotOurs is returned by [Parse] for a file that was not written by keastream
// or by the system that it replaces. Such a file is never changed or removed.
var ErrNotOurs = errors.New("not written by keastream or the system that it replaces")

// Content is what stands in a file of ours.
type Content struct {
	Targets []Target // in canonical form and order
	// Sources are those of metadata.kea_sources, none in a file of the replaced
	// system.
	Sources []string
	// Unusable describes the lines that no reservation can ask for, because they
	// have no IPv4 address or no host name, whatever the sources say. It
	// describes the first 20; UnusableCount is the number of all.
	Unusable      []string
	UnusableCount int
}

// unusableShown is how many lines Content.Unusable describes.
const unusableShown = 20

// Parse reads a file of any layout. The error wraps [ErrNotOurs] and says why:
// the file is not YAML, not of our form, or another program wrote it.
//
// A line is read as it would be written today: the name in canonical form, units
// and manufacturer only in the texts that a line can have, a MAC address in any
// of its notations and "" for anything else, since the lines of the replaced
// system show identifiers there too.
func Parse(data []byte) (Content, error) {
	c, err := parse(data)
	if err != nil {
		return Content{}, fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	return c, nil
}

func parse(data []byte) (Content, error) {
	// A large file of another program is not worth a tree in memory.
	if !bytes.Contains(data, []byte(writerKeastream)) && !bytes.Contains(data, []byte(writerReplaced)) {
		return Content{}, errors.New("it does not say so")
	}
	if manyNodes(data) {
		return Content{}, errors.New("it has more nodes than the files of a hundred cabinets")
	}
	var document yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&document); err != nil {
		return Content{}, fmt.Errorf("it is not YAML: %s", Shorten(err.Error()))
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Content{}, errors.New("it holds more than one YAML document")
	}
	top, err := fields(document.Content[0])
	if err != nil {
		return Content{}, err
	}
	metadata, hosts, err := parseInventory(top)
	if err != nil {
		return Content{}, err
	}
	if source := text(metadata["source"]); source != writerKeastream && source != writerReplaced {
		return Content{}, fmt.Errorf("metadata.source is not %s or %s", writerKeastream, writerReplaced)
	}

	var content Content
	sources, err := items(metadata["kea_sources"])
	if err != nil {
		return Content{}, fmt.Errorf("metadata.kea_sources: %w", err)
	}
	for _, s := range sources {
		name := text(s)
		if err := events.CheckSource(Shorten(name)); err != nil {
			return Content{}, fmt.Errorf("metadata.kea_sources: %w", err)
		}
		content.Sources = append(content.Sources, name)
	}
	lines, err := items(top["bmc_targets"])
	if err != nil {
		return Content{}, fmt.Errorf("bmc_targets: %w", err)
	}
	for i, line := range lines {
		t, err := parseTarget(line)
		content.add(fmt.Sprintf("bmc_targets[%d]", i), t, err)
	}
	if top["bmc_targets"] == nil {
		for _, h := range hosts {
			t, err := h.target()
			content.add(fmt.Sprintf("host %q", Shorten(h.key)), t, err)
		}
	} else {
		content.complete(hosts)
	}
	sorted := Cabinet{Targets: content.Targets, Sources: content.Sources}
	sorted.normalize()
	content.Targets, content.Sources = sorted.Targets, sorted.Sources
	return content, nil
}

// add adds a line, or the reason why no reservation can ask for it.
func (c *Content) add(where string, t Target, err error) {
	switch {
	case err == nil:
		c.Targets = append(c.Targets, t)
	case len(c.Unusable) < unusableShown:
		c.Unusable = append(c.Unusable, fmt.Sprintf("%s: %v", where, err))
		c.UnusableCount++
	default:
		c.UnusableCount++
	}
}

// maxIndicators is more than 20,000 devices have in a list, six each,
// and than as many as fit into a file with the largest layout. A node takes some
// 300 bytes of memory, and one indicator gives two at most.
const maxIndicators = 150_000

// manyNodes tells whether a tree of the data would take far more memory than
// the data has bytes, without making one. YAML 1.2.2, section 7, has no node
// without one of these indicators before it, but for the first. Three of them
// count only if what follows makes them one: it does not in a host name or a
// MAC address, and never with another hyphen.
func manyNodes(data []byte) bool {
	n := 0
	for i, c := range data {
		switch c {
		case ',', '[', '{':
			n++
		case '-', '?', ':':
			if i+1 == len(data) || !isWordByte(data[i+1]) {
				n++
			}
		}
	}
	return n > maxIndicators
}

func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-'
}

func parseTarget(line *yaml.Node) (Target, error) {
	f, err := fields(line)
	if err != nil {
		return Target{}, err
	}
	ip, err := netip.ParseAddr(text(f["ip"]))
	if err != nil || !ip.Is4() {
		return Target{}, fmt.Errorf("ip: %q is not an IPv4 address", Shorten(text(f["ip"])))
	}
	hostname, err := events.CanonicalHostname(text(f["hostname"]))
	if err != nil {
		return Target{}, fmt.Errorf("hostname: %w", err)
	}
	t := Target{
		IP: ip, Hostname: hostname,
		Units:        parseUnits(text(f["rack_unit"])),
		Manufacturer: text(f["manufacturer"]),
	}
	if mac, err := net.ParseMAC(text(f["mac"])); err == nil && len(mac) == 6 {
		t.MAC = mac.String()
	}
	if !makerText.MatchString(t.Manufacturer) {
		t.Manufacturer = unknown
	}
	return t, nil
}

// fields returns the values of a mapping. A key that stands there twice is an
// error: readers do not agree on which one counts.
func fields(node *yaml.Node) (map[string]*yaml.Node, error) {
	if node == nil || node.Kind != yaml.MappingNode {
		return nil, errors.New("it is not a mapping")
	}
	all := make(map[string]*yaml.Node, len(node.Content)/2)
	for pair := range slices.Chunk(node.Content, 2) {
		key := text(pair[0])
		if _, twice := all[key]; twice {
			return nil, fmt.Errorf("the key %q stands there twice", Shorten(key))
		}
		all[key] = pair[1]
	}
	return all, nil
}

// items returns the elements of a list, none if it is missing or null.
func items(node *yaml.Node) ([]*yaml.Node, error) {
	switch {
	case node == nil || node.ShortTag() == "!!null":
		return nil, nil
	case node.Kind != yaml.SequenceNode:
		return nil, errors.New("it is not a list")
	}
	return node.Content, nil
}

// text returns a scalar as it is written, whatever type a reader would take it
// for, and "" for anything else.
func text(node *yaml.Node) string {
	if node == nil || node.Kind != yaml.ScalarNode {
		return ""
	}
	return node.Value
}

// Shorten keeps hostile values from filling a log: it cuts after 80 bytes.
func Shorten(s string) string {
	const limit = 80
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
