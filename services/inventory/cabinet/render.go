package cabinet

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// Layout is the form of a file.
type Layout string

const (
	// Both is an Ansible inventory with the list of the replaced system beside it.
	// Its metadata are variables: at the top they would be a group of that name.
	Both Layout = "both"
	// List is the form of the replaced system: a top-level list bmc_targets and the
	// mapping metadata, extended by its key kea_sources.
	List Layout = "list"
	// Ansible is [Both] without the list.
	Ansible Layout = "ansible"
)

// The programs that wrote files of these layouts, as they stand in metadata.
const (
	writerKeastream = "keastream"
	writerReplaced  = "kea_lease_monitor"
)

// documentStart begins the layouts that the replaced system did not have.
const documentStart = "---\n"

// timeLayout is the form of updated_at in the replaced system: ISO 8601 as
// Python prints it, in UTC with microseconds.
const timeLayout = "2006-01-02T15:04:05.000000+00:00"

// Render returns the bytes of the file: YAML that also readers of version 1.1
// understand, lines end with LF. The same cabinet and time always give the same
// bytes. The error names the file; with a cabinet from [Patterns.Group] there is
// none.
func (l Layout) Render(c Cabinet, updated time.Time) ([]byte, error) {
	var document *yaml.Node
	var buf bytes.Buffer
	enc := yaml.NewEncoder(&buf)
	enc.SetIndent(2)
	metadata := metadata(c, updated)
	switch l {
	case List:
		enc.CompactSeqIndent()
		document = mapping("bmc_targets", listTargets(c), "metadata", metadata)
	case Both:
		buf.WriteString(documentStart)
		document = mapping("all", inventory(c, metadata), "bmc_targets", listTargets(c))
	case Ansible:
		buf.WriteString(documentStart)
		document = mapping("all", inventory(c, metadata))
	default:
		return nil, fmt.Errorf("render %s: layout %q is not known", c.File(), string(l))
	}
	if err := checkTexts(document); err != nil {
		return nil, fmt.Errorf("render %s: %w", c.File(), err)
	}
	if err := enc.Encode(document); err != nil {
		return nil, fmt.Errorf("render %s: %w", c.File(), err)
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("render %s: %w", c.File(), err)
	}
	return buf.Bytes(), nil
}

// listTargets makes the list of the replaced system.
func listTargets(c Cabinet) *yaml.Node {
	targets := &yaml.Node{Kind: yaml.SequenceNode}
	for _, t := range c.Targets {
		targets.Content = append(targets.Content, mapping(
			"ip", quoted(t.IP.String()),
			"mac", quoted(t.MAC),
			"hostname", quoted(t.Hostname),
			"rack_unit", quoted(t.Units.String()),
			"manufacturer", quoted(t.Manufacturer),
		))
	}
	return targets
}

func metadata(c Cabinet, updated time.Time) *yaml.Node {
	sources := &yaml.Node{Kind: yaml.SequenceNode}
	for _, s := range c.Sources {
		sources.Content = append(sources.Content, quoted(s))
	}
	return mapping(
		"updated_at", quoted(updated.UTC().Format(timeLayout)),
		"source", quoted(writerKeastream),
		"site", quoted(c.Site),
		"cabinet", quoted(c.Cabinet),
		"total_count", number(len(c.Targets)),
		"kea_sources", sources,
	)
}

// mapping makes a mapping of keys, which are ours and need no quotes, and nodes.
func mapping(pairs ...any) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for i, p := range pairs {
		if i%2 == 0 {
			p = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: p.(string)}
		}
		node.Content = append(node.Content, p.(*yaml.Node))
	}
	return node
}

// quoted makes a string that no reader takes for anything else.
func quoted(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Style: yaml.DoubleQuotedStyle, Value: s}
}

func number(n int) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(n)}
}

// updatedLine matches only what we write: a value that somebody broke is a
// difference like any other.
var updatedLine = regexp.MustCompile(`(?m)^( *)updated_at: "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+\+00:00"$`)

// Same tells whether two files have the same bytes but for the values of
// updated_at. So a comment or a key that someone wrote into a file makes it
// another one.
func Same(a, b []byte) bool { return bytes.Equal(timeless(a), timeless(b)) }

// Digest returns a checksum that is equal for files that are the [Same], and for
// no others.
func Digest(data []byte) [sha256.Size]byte { return sha256.Sum256(timeless(data)) }

// timeless returns the data without the values of updated_at that are of our
// form, and with their number: a value that somebody took away is a difference.
func timeless(data []byte) []byte {
	n := len(updatedLine.FindAllIndex(data, -1))
	return strconv.AppendInt(updatedLine.ReplaceAll(data, []byte("${1}updated_at:")), int64(n), 10)
}
