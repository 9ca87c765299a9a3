package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// lenientMapper decodes one value as its mapper does, but never fails.
type lenientMapper struct {
	kong.Mapper
	collector *collector
}

// IsBoolFromValue hands through what kong wants to know of a mapper.
func (m *lenientMapper) IsBoolFromValue(target reflect.Value) bool {
	if b, ok := m.Mapper.(kong.BoolMapperExt); ok && b.IsBoolFromValue(target) {
		return true
	}
	b, ok := m.Mapper.(kong.BoolMapper)
	return ok && b.IsBool()
}

// Decode reads the next token into target; if that fails, the default.
func (m *lenientMapper) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	v, c := ctx.Value, m.collector
	variable, isDefault := "", false
	if c.environment {
		var text string
		variable, text = setVariable(v)
		if isDefault = variable == ""; isDefault && hasVariable(v) {
			c.empty = append(c.empty, v)
			return m.setDefault(v, target)
		} else if !isDefault {
			ctx = &kong.DecodeContext{Value: v, Scan: scan(text)}
		}
	}

	token := ctx.Scan.Peek()
	var err error
	if !token.IsValue() && !v.IsBool() && !v.IsCounter() {
		// The next flag stays where it is: it is none the worse for this one.
		err, token = errors.New("no value is given"), kong.Token{Type: kong.EOLToken}
	} else if err = m.Mapper.Decode(ctx, target); err == nil {
		err = checkEnum(v, target)
	}
	switch {
	case err == nil:
		return nil
	case isDefault:
		panic(fmt.Sprintf("default of %s: %v", v.ShortSummary(), err))
	}

	what := cmp.Or(variable, v.ShortSummary())
	if !token.IsEOL() {
		what = fmt.Sprintf("%s=%s", what, token)
	}
	remedy := ""
	if v.HasDefault && v.Default != "" {
		remedy = fmt.Sprintf(" (the default is %s)", v.Default)
	}
	c.findings = append(c.findings, finding{
		value: v, fromEnvironment: c.environment,
		err: fmt.Errorf("%s: %w%s", what, err, remedy),
	})
	return m.setDefault(v, target)
}

func (m *lenientMapper) setDefault(v *kong.Value, target reflect.Value) error {
	target.SetZero()
	if !v.HasDefault {
		return nil
	}
	return m.Mapper.Decode(&kong.DecodeContext{Value: v, Scan: scan(v.Default)}, target)
}

func scan(text string) *kong.Scanner {
	return kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: text})
}

// setVariable is the first variable of the value that is not empty.
func setVariable(v *kong.Value) (name, text string) {
	for _, name := range v.Tag.Envs {
		if text := os.Getenv(name); text != "" {
			return name, text
		}
	}
	return "", ""
}

// hasVariable reports whether a variable of the value is there, even if empty:
// then that, and not the default, is what kong hands over.
func hasVariable(v *kong.Value) bool {
	return slices.ContainsFunc(v.Tag.Envs, func(name string) bool {
		_, ok := os.LookupEnv(name)
		return ok
	})
}

func checkEnum(v *kong.Value, target reflect.Value) error {
	if v.Enum == "" {
		return nil
	}
	if target.Kind() == reflect.Slice {
		for i := range target.Len() {
			if err := checkEnum(v, target.Index(i)); err != nil {
				return err
			}
		}
		return nil
	}
	if !slices.Contains(v.EnumSlice(), fmt.Sprint(target)) {
		return fmt.Errorf("not one of %s", strings.Join(v.EnumSlice(), ", "))
	}
	return nil
}
