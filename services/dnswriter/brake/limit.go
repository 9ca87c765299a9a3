package brake

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limit says how many names of a scope may lose records in an hour without
// anybody's approval. Names whose records get other values have the same limit
// of their own.
type Limit struct {
	// Min is allowed in any case: a percentage alone stops everyday work in a
	// small zone.
	Min int
	// Percent of the names that have a record of ours.
	Percent float64
	// Max is allowed at most, but for Min: a percentage alone lets a disaster
	// pass in a large zone.
	Max int
}

// mostAllowed bounds Min and Max: each name that is let go is stored with those
// of its hour before its record goes, all of them in one document.
const mostAllowed = 1000

// DefaultLimit is the default of --max-removals.
const DefaultLimit = "10,10%,200"

// ParseLimit reads a Limit in the form MIN,PERCENT,MAX, as in "10,10%,200". MIN
// and MAX are from 0 to 1000, and MIN is not above MAX.
func ParseLimit(s string) (Limit, error) {
	parts := strings.Split(s, ",")
	if len(parts) != 3 {
		return Limit{}, fmt.Errorf("%q is not of the form MIN,PERCENT,MAX: give one like %s", s, DefaultLimit)
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	least, err := parseNames("MIN", parts[0])
	if err != nil {
		return Limit{}, err
	}
	digits, ok := strings.CutSuffix(parts[1], "%")
	percent, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || !(percent >= 0 && percent <= 100) { // NaN is neither
		return Limit{}, fmt.Errorf("PERCENT %q is not from 0%% to 100%%: give one like 10%%", parts[1])
	}
	most, err := parseNames("MAX", parts[2])
	if err != nil {
		return Limit{}, err
	}
	if least > most {
		return Limit{}, fmt.Errorf("MIN %d is above MAX %d: give MIN first", least, most)
	}
	return Limit{Min: least, Percent: percent, Max: most}, nil
}

func parseNames(what, s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > mostAllowed {
		return 0, fmt.Errorf("%s %q is not a number from 0 to %d: for more at once there is the verb approve", what, s, mostAllowed)
	}
	return n, nil
}

// String returns the form that ParseLimit reads.
func (l Limit) String() string {
	return fmt.Sprintf("%d,%s%%,%d", l.Min, strconv.FormatFloat(l.Percent, 'f', -1, 64), l.Max)
}

// Allowed returns how many names may go in an hour when owned names have a
// record of ours. Parts of a name do not count.
func (l Limit) Allowed(owned int) int {
	const rounding = 1e-9 // 10 % of 70 is 7, whatever binary fractions say
	share := int(math.Floor(float64(owned)*l.Percent/100 + rounding))
	return max(l.Min, min(share, l.Max))
}
