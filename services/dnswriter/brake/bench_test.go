package brake_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/keastream/keastream/services/dnswriter/brake"
)

// BenchmarkManyNames has 100,000 names go at once, each with an address and a PTR
// record. It gives what a call of Want takes, what all of them take again when
// nothing has changed, how long it takes from the end of the hold-down to the list
// with its hash, and what the brake holds then for each name, in bytes.
func BenchmarkManyNames(b *testing.B) {
	const n = 100_000
	var want, again, list time.Duration
	var held uint64
	for b.Loop() {
		before := heapInUse()
		brk := brake.New(brake.Config{Scope: "internal", HoldDown: 5 * time.Second, Owned: func() int { return n }})
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- brk.Run(ctx) }()
		start := time.Now()
		wantAll(brk, n)
		told := time.Now()
		want += told.Sub(start)
		wantAll(brk, n)
		again += time.Since(told)
		for len(brk.Lists()) == 0 {
			time.Sleep(time.Millisecond)
		}
		list += time.Since(told) - 5*time.Second
		held += heapInUse() - before
		cancel()
		<-done
		runtime.KeepAlive(brk)
	}
	b.ReportMetric(float64(want.Nanoseconds())/float64(2*n*b.N), "ns/want")
	b.ReportMetric(float64(again.Nanoseconds())/float64(2*n*b.N), "ns/want-again")
	b.ReportMetric(float64(list.Milliseconds())/float64(b.N), "ms/list")
	b.ReportMetric(float64(held)/float64(n*b.N), "B/name")
	b.ReportMetric(0, "ns/op")
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
