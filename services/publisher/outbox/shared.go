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
	//go:embed triggers.sql
	triggersSQL string

	script = func() *template.Template {
		t := template.Must(template.New("shared.sql").Parse(sharedSQL))
		template.Must(t.New("functions.sql").Parse(functionsSQL))
		return template.Must(t.New("triggers.sql").Parse(triggersSQL)).Lookup("shared.sql")
	}()

	// snapshotSQL reads Kea's tables with the rights of whoever runs it, and
	// gives what keastream.snapshot gives; positionSQL as keastream.position.
	snapshotSQL = expand(script, "snapshot")
	positionSQL = expand(script, "position")

	// wantedSQL and replacedSQL are the triggers that Install makes, and those
	// that it takes off.
	wantedSQL   = expand(script, "wanted")
	replacedSQL = expand(script, "replaced")
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
