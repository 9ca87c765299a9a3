package cabinet

import (
	"fmt"
	"strings"

	"github.com/keastream/keastream/pkg/events"
	"go.yaml.in/yaml/v3"
)

// runnable tells whether Ansible would run a text: its values are Jinja templates
// when they hold the start of an expression, a statement or a comment. The header
// #jinja2: gives other starts to the text that begins with it.
//
// The tag !unsafe would keep Ansible from that, and everybody else from reading
// the file.
func runnable(s string) bool {
	for _, start := range []string{"{{", "{%", "{#"} {
		if strings.Contains(s, start) {
			return true
		}
	}
	return strings.HasPrefix(strings.TrimSpace(s), "#jinja2:")
}

// holdsTemplate tells whether a text of a reservation that a file shows would be
// run. No host name and no MAC address would: it is somebody's attempt.
func holdsTemplate(r events.Reservation) bool {
	if runnable(r.Hostname) || runnable(r.MAC) || runnable(r.Source) {
		return true
	}
	for _, addr := range r.IPv6 {
		if runnable(addr.Zone()) {
			return true
		}
	}
	return false
}

// checkTexts is the last line of defence: nothing that comes from reservations or
// a file gets this far.
func checkTexts(node *yaml.Node) error {
	if runnable(node.Value) {
		return fmt.Errorf("the value %q would be run by Ansible", Shorten(node.Value))
	}
	for _, child := range node.Content {
		if err := checkTexts(child); err != nil {
			return err
		}
	}
	return nil
}
