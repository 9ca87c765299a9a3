package cabinet

import (
	"fmt"
	"regexp"
	"strconv"
)

// maxUnit keeps a number that is no rack unit from being taken for one: the
// highest racks have some sixty.
const maxUnit = 9999

// maxHeight keeps two numbers that are no range from being taken for one, as in
// ru5-2025: it is more than a whole rack has.
const maxHeight = 100

// Units are the rack units that a device fills. The zero value says that they
// are not known.
type Units struct {
	Known     bool
	Low, High int // equal for a device of one unit
}

// unitsOf reads the digits that a pattern found. A missing end means one unit;
// the ends may come in any order. Units that are not numbers up to maxUnit, and
// more than maxHeight of them, are not known.
func unitsOf(first, end string) Units {
	if end == "" {
		end = first
	}
	low, err := strconv.ParseUint(first, 10, 31)
	if err != nil || low > maxUnit {
		return Units{}
	}
	high, err := strconv.ParseUint(end, 10, 31)
	if err != nil || high > maxUnit {
		return Units{}
	}
	low, high = min(low, high), max(low, high)
	if high-low >= maxHeight {
		return Units{}
	}
	return Units{Known: true, Low: int(low), High: int(high)}
}

// String returns "RU 17", or "RU 9-7" for a range, or "Unknown".
func (u Units) String() string {
	switch {
	case !u.Known:
		return unknown
	case u.Low == u.High:
		return fmt.Sprintf("RU %d", u.High)
	}
	return fmt.Sprintf("RU %d-%d", u.High, u.Low)
}

var unitsText = regexp.MustCompile(`^RU ([0-9]+)(?:-([0-9]+))?$`)

// parseUnits is the inverse of [Units.String]; any other text means that they
// are not known.
func parseUnits(text string) Units {
	m := unitsText.FindStringSubmatch(text)
	if m == nil {
		return Units{}
	}
	return unitsOf(m[1], m[2])
}

// compare orders by the highest unit from top to bottom, unknown ones last.
func (u Units) compare(o Units) int {
	switch {
	case u.Known && o.Known:
		return o.High - u.High
	case u.Known:
		return -1
	case o.Known:
		return 1
	}
	return 0
}
