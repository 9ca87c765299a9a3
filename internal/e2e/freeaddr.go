package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// claimed keeps what FreeAddr has claimed from being closed by the garbage
// collector.
var claimed struct {
	sync.Mutex
	listeners []net.Listener
}

// FreeAddr returns a loopback address that is its caller's until this process
// ends: nobody gets its port by chance, not even while its owner is down. The
// port lies below those that the kernel gives to connections and to listeners
// on port 0 (32768 and up), and below those of package pgtest. Against others who
// ask for one, in this process and in others, it is claimed by listening on it at
// another loopback address.
func FreeAddr() (string, error) {
	const low, high, attempts = 10_000, 15_000, 100
	var last error
	for range attempts {
		port := strconv.Itoa(low + rand.IntN(high-low))
		claim, err := net.Listen("tcp", net.JoinHostPort("127.0.0.2", port))
		if err != nil {
			last = err
			continue
		}
		addr := net.JoinHostPort("127.0.0.1", port)
		probe, err := net.Listen("tcp", addr)
		if err != nil {
			last = errors.Join(err, claim.Close())
			continue
		}
		claimed.Lock()
		claimed.listeners = append(claimed.listeners, claim)
		claimed.Unlock()
		return addr, probe.Close()
	}
	return "", fmt.Errorf("no free port from %d to %d in %d attempts: %w", low, high, attempts, last)
}
