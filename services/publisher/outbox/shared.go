package outbox

import (
	_ "embed"
	"strings"
	"text/template"
)

var (
	//go:embed shared.sql
	sharedSQL string
	//go:embed functions.sql
	functionsSQL string

	shared    = template.Must(template.New("shared.sql").Parse(sharedSQL))
	functions = template.Must(template.Must(shared.Clone()).New("functions.sql").Parse(functionsSQL))

	// snapshotSQL reads Kea's tables with the rights of whoever runs it, and
	// gives what keastream.snapshot gives; positionSQL as keastream.position.
	snapshotSQL = expand(shared, "snapshot")
	positionSQL = expand(shared, "position")
)

// expand gives the text of a template. The templates are part of the program
// and take no data, so one that fails is a mistake in it.
func expand(t *template.Template, name string) string {
	var text strings.Builder
	if err := t.ExecuteTemplate(&text, name, nil); err != nil {
		panic(err)
	}
	return text.String()
}
