package daemon

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

var (
	errHelp    = errors.New("help wanted")
	errVersion = errors.New("version wanted")
)

// nameVariables gives every flag its KEASTREAM_ variable, before those that
// stand in its env tag.
func nameVariables(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		flag, ok := node.(*kong.Flag)
		if !ok || flag.Name == "help" {
			return next(nil)
		}
		switch {
		case slices.Equal(flag.Envs, []string{"-"}):
			flag.Envs = nil
		default:
			own := "KEASTREAM_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))
			flag.Envs = append([]string{own}, flag.Envs...)
		}
		flag.Tag.Envs = flag.Envs
		return next(nil)
	})
}

// parse reads args and the environment into the parser's struct. It takes the
// steps of [kong.Kong.Parse], but does not stop at the first thing that is
// wrong: the error joins all of them. errHelp and errVersion say that nothing
// is to be run.
func parse(k *kong.Kong, args []string) (*kong.Context, error) {
	c := &collector{}
	if err := c.wrap(k); err != nil {
		return nil, err
	}

	call, err := c.trace(k, args)
	switch {
	case given(call, "help"):
		return call, errHelp
	case given(call, "version"):
		return call, errVersion
	case err != nil:
		c.add(err)
	}

	c.environment = true
	if err := errors.Join(call.Reset(), call.Resolve()); err != nil {
		return nil, err
	}
	if _, err := call.Apply(); err != nil {
		return nil, err
	}

	for _, finding := range c.findings {
		// A variable is not read if the flag is given, and one of another verb
		// is none of this verb's business.
		if finding.fromEnvironment && (given(call, finding.value.Name) || !selected(call, finding.value)) {
			continue
		}
		c.add(finding.err)
	}
	c.required(call)
	c.validate(call)
	if len(c.problems) == 0 {
		// What is left is rare: xor and and groups, an unknown verb.
		c.add(call.Validate())
	}
	return call, errors.Join(c.problems...)
}

// collector makes the value parsers of kong lenient: what does not parse is
// written down, and the flag keeps its default so that parsing can go on and
// [collector.validate] does not report it a second time.
type collector struct {
	environment bool // the environment is being read, not the command line
	findings    []finding
	empty       []*kong.Value // given as an empty variable
	problems    []error
}

type finding struct {
	value           *kong.Value
	fromEnvironment bool
	err             error
}

// add notes a problem once, however many ways lead to it: an embedded struct's
// Validate is also a method of the struct around it.
func (c *collector) add(err error) {
	for _, e := range flatten(err) {
		if !slices.ContainsFunc(c.problems, func(p error) bool { return p.Error() == e.Error() }) {
			c.problems = append(c.problems, e)
		}
	}
}

func (c *collector) wrap(k *kong.Kong) error {
	return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if v, ok := node.(*kong.Value); ok && v.Mapper != nil && v.Flag != k.Model.HelpFlag {
			v.Mapper = &lenientMapper{Mapper: v.Mapper, collector: c}
		}
		return next(nil)
	})
}

// trace walks the command line. kong stops at the first argument that it does
// not know; that one is noted, taken out, and the rest is tried again.
func (c *collector) trace(k *kong.Kong, args []string) (*kong.Context, error) {
	var unknown []error
	for {
		c.findings = nil // of the round before
		call, err := kong.Trace(k, args)
		if err != nil {
			return call, err
		}
		if call.Error == nil {
			return call, errors.Join(unknown...)
		}
		unknown = append(unknown, fmt.Errorf("%w: see --help for what there is", call.Error))

		rest := call.Path[len(call.Path)-1].Remainder()
		at := len(args) - len(rest)
		if len(rest) > 0 && rest[0] == "--" {
			at++
		}
		if at >= len(args) || !strings.HasPrefix(args[at], "-") {
			// A stray word: what stands behind it may belong to it.
			return call, errors.Join(unknown...)
		}
		end := at + 1
		if end < len(args) && !strings.Contains(args[at], "=") && !strings.HasPrefix(args[end], "-") && !isVerb(k, args[end]) {
			end++ // its value
		}
		args = slices.Delete(slices.Clone(args), at, end)
	}
}

func isVerb(k *kong.Kong, word string) bool {
	return slices.ContainsFunc(k.Model.Children, func(n *kong.Node) bool {
		return n.Name == word || slices.Contains(n.Aliases, word)
	})
}

func given(call *kong.Context, flag string) bool {
	return slices.ContainsFunc(call.Path, func(p *kong.Path) bool { return p.Flag != nil && p.Flag.Name == flag })
}

// nodes are the application and the verbs that were chosen.
func nodes(call *kong.Context) []*kong.Node {
	var out []*kong.Node
	for _, p := range call.Path {
		switch {
		case p.App != nil:
			out = append(out, p.App.Node)
		case p.Command != nil:
			out = append(out, p.Command)
		}
	}
	return out
}

func selected(call *kong.Context, v *kong.Value) bool {
	return slices.ContainsFunc(nodes(call), func(n *kong.Node) bool { return slices.Contains(n.Values(), v) })
}

func (c *collector) required(call *kong.Context) {
	for _, node := range nodes(call) {
		for _, v := range node.Values() {
			if !v.Required || v.Set && !slices.Contains(c.empty, v) {
				continue
			}
			how := "give it as an argument"
			if len(v.Tag.Envs) > 0 {
				how = "give the flag or " + strings.Join(v.Tag.Envs, " or ")
			}
			c.add(fmt.Errorf("%s: must be set: %s", v.ShortSummary(), how))
		}
	}
}

// validate calls every Validate() error of the chosen structs and of the types
// of their flags.
func (c *collector) validate(call *kong.Context) {
	for _, node := range nodes(call) {
		for _, v := range node.Values() {
			if err := validateValue(v.Target); err != nil {
				c.add(fmt.Errorf("%s: %w", v.ShortSummary(), err))
			}
		}
		c.validateStruct(node.Target)
	}
}

// validateStruct looks into embedded structs first: their findings are the more
// basic ones.
func (c *collector) validateStruct(v reflect.Value) {
	v = reflect.Indirect(v)
	if v.Kind() != reflect.Struct {
		return
	}
	for field, value := range v.Fields() {
		_, embedded := field.Tag.Lookup("embed")
		if field.IsExported() && (embedded || field.Anonymous) {
			c.validateStruct(value)
		}
	}
	c.add(validateValue(v))
}

func validateValue(v reflect.Value) error {
	if v.CanAddr() {
		v = v.Addr()
	}
	if !v.CanInterface() {
		return nil
	}
	if check, ok := v.Interface().(interface{ Validate() error }); ok {
		return check.Validate()
	}
	return nil
}

// flatten takes joined errors apart.
func flatten(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, flatten(e)...)
	}
	return out
}

func indent(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") }

// printHelp prints the help of the chosen verb. If none is chosen it prints the
// verbs and then the help of the default one, whose flags can be given without
// naming it; it has the flags of the program too.
func printHelp(k *kong.Kong, call *kong.Context) error {
	if call.Selected() != nil || k.Model.DefaultCmd == nil {
		return call.PrintUsage(false)
	}
	hide := func(hidden bool) {
		for _, flag := range k.Model.Flags {
			flag.Hidden = hidden
		}
	}
	hide(true)
	err := call.PrintUsage(false)
	hide(false)
	if err != nil {
		return err
	}
	if call, err = kong.Trace(k, []string{k.Model.DefaultCmd.Name}); err != nil {
		return err
	}
	fmt.Fprintln(k.Stdout)
	return call.PrintUsage(false)
}
