package pgtest_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/keastream/keastream/internal/pgtest"
)

// ownerVariable makes this binary a process that owns a server and waits to be
// killed. Its value is the parent directory of the server's.
const ownerVariable = "PGTEST_OWNER"

func TestMain(m *testing.M) {
	if parent := os.Getenv(ownerVariable); parent != "" {
		ownServer(parent)
		return
	}
	os.Exit(pgtest.Run(m))
}

func ownServer(parent string) {
	server, err := pgtest.Start(context.Background(), pgtest.Options{Parent: parent})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(server.DSN("postgres", pgtest.Superuser))
	select {}
}
