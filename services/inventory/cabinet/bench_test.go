package cabinet_test

import (
	"fmt"
	"testing"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/services/inventory/cabinet"
)

// BenchmarkGroup groups 100,000 reservations, two in three of which are of a
// kind that stands in no file.
func BenchmarkGroup(b *testing.B) {
	var rs []events.Reservation
	for i := range 100_000 {
		name := fmt.Sprintf("web-%d.lab.site.com", i)
		if i%3 == 0 {
			name = fmt.Sprintf("us3-cab%d-ru%d-idrac", i/120, i/3%40)
		}
		rs = append(rs, reserve("kea", name, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), "02:00:00:00:00:01"))
	}
	b.ReportAllocs()
	for b.Loop() {
		cabinet.Patterns{}.Group(rs)
	}
}
