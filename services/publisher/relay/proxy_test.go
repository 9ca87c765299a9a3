package relay_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// proxy passes on to server what is said to the address that it returns, and back
// again, by functions that end when reading or writing does.
func proxy(t *testing.T, server string, up, down func(to io.Writer, from io.Reader)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); open.Wait() })
	open.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			open.Go(func() { up(upstream, client); _ = upstream.Close() })
			open.Go(func() { down(client, upstream); _ = client.Close() })
		}
	})
	return l.Addr().String()
}

func pass(to io.Writer, from io.Reader) { _, _ = io.Copy(to, from) }

// slowLine is a proxy that passes on what the server says at a number of bytes
// per second.
func slowLine(t *testing.T, server string, rate int) (address string) {
	t.Helper()
	return proxy(t, server, pass, func(to io.Writer, from io.Reader) {
		chunks(from, func(data []byte) error {
			<-time.After(time.Duration(len(data)) * time.Second / time.Duration(rate))
			_, err := to.Write(data)
			return err
		})
	})
}

// silentLine is a proxy that swallows what the client says while silence is true.
func silentLine(t *testing.T, server string) (address string, silence *atomic.Bool) {
	t.Helper()
	silence = new(atomic.Bool)
	return proxy(t, server, func(to io.Writer, from io.Reader) {
		chunks(from, func(data []byte) error {
			if silence.Load() {
				return nil
			}
			_, err := to.Write(data)
			return err
		})
	}, pass), silence
}

// chunks reads until the end or an error of use.
func chunks(from io.Reader, use func([]byte) error) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || use(buf[:n]) != nil {
			return
		}
	}
}
