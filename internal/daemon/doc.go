// Package daemon is the life of one process: it reads the settings, makes the
// logger, runs the verb that was asked for, and turns its end into an exit code.
// It knows nothing about Kea, NATS or DNS.
//
// # A service
//
// A service describes its command line as a struct for
// github.com/alecthomas/kong. Its verbs are commands with a method
// Run(ctx context.Context, d *daemon.Daemon) error:
//
//	type cli struct {
//		Daemon daemon.Settings `embed:""`
//		NATS   natsconn.Settings `embed:""`
//
//		Run   runVerb   `cmd:"" default:"withargs" help:"Follow the stream (the default)."`
//		Check checkVerb `cmd:"" help:"Compare once and print the differences."`
//	}
//
//	func main() {
//		os.Exit(daemon.Main("keastream-example", "What it is for.", &cli{},
//			kong.Vars{"http_addr": "127.0.0.1:9649"}))
//	}
//
// The verb of a service builds its loops and ends with [Daemon.Run], which
// blocks until the process has to stop. A verb that does one thing and ends
// (install, plan) just does it: it gets the logger and a context that ends with
// SIGTERM or SIGINT, but no HTTP server.
//
// # Settings
//
// Every flag can also be given as KEASTREAM_<FLAG> in the environment: --db-host
// is KEASTREAM_DB_HOST. A flag wins over the environment, the environment over
// the default. An empty variable counts as not set, because compose files and
// systemd EnvironmentFiles produce empty ones. Names in an `env:""` tag are read
// after the KEASTREAM_ name; `env:"-"` takes a flag out of the environment.
//
// All wrong settings are named in one message, see [Program.Run]. A rule about
// more than the type of one value belongs into a method Validate() error, on the
// kong struct, on a struct embedded in it, on a verb or on the type of a flag;
// several findings are joined with [errors.Join]. Say the flag, the value and
// the remedy. The other hooks of kong (BeforeApply, AfterApply and so on) are
// not called.
//
// A value that does not parse is repeated in the message. So a setting that is
// a secret must be a string, which always parses, or better the path of a file.
//
// # HTTP
//
// While [Daemon.Run] runs, --http-addr serves /metrics, /healthz and
// /readyz, and what a service adds with [Daemon.Answer]. There is no way to change
// anything over HTTP.
package daemon
