package e2e_test

import (
	"net"
	"testing"

	"github.com/keastream/keastream/internal/e2e"
)

// With 200 out of 5,000 ports, chance alone would give one of them twice nearly
// always.
func TestFreeAddrIsGivenOnce(t *testing.T) {
	given := make(map[string]bool)
	for range 200 {
		addr, err := e2e.FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		if given[addr] {
			t.Fatalf("%s was given twice", addr)
		}
		given[addr] = true
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatalf("the address is not free: %v", err)
		}
		if err := listener.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
