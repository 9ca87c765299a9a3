package soak

import (
	"io"
	"net"
	"testing"
	"time"
)

// What a route holds back comes when it is healed; until then nobody learns of
// anything, not even that the other end has closed.
func TestRouteHoldsEverythingBack(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := newRoute("test", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer r.cut()
	client, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	arrived := make(chan string)
	go func() {
		defer close(arrived)
		buf := make([]byte, 100)
		for {
			n, err := server.Read(buf)
			if n > 0 {
				arrived <- string(buf[:n])
			}
			if err != nil {
				return
			}
		}
	}()
	if _, err := io.WriteString(client, "before"); err != nil {
		t.Fatal(err)
	}
	if got := <-arrived; got != "before" {
		t.Fatalf("%q arrived", got)
	}
	if err := r.hold(toServer, fromServer); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(client, "held"); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case got, open := <-arrived:
		t.Fatalf("%q passed a route that holds everything back, open: %v", got, open)
	case <-time.After(300 * time.Millisecond): // it would have been there in 1
	}
	if err := r.heal(); err != nil {
		t.Fatal(err)
	}
	if got := <-arrived; got != "held" {
		t.Errorf("after healing %q arrived", got)
	}
	if got, open := <-arrived; open {
		t.Errorf("after that %q arrived, want the end", got)
	}
}
