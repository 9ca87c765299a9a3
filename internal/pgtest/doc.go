// Package pgtest runs a throw-away PostgreSQL server that holds Kea's own
// schema. Tests use it, and so does the demonstration program.
//
// The server is the real one: the newest PostgreSQL of this machine, on a data
// directory made for the occasion, and the schema comes from the script that
// Kea's kea-admin runs. Logins work as in a real deployment: passwords
// (scram-sha-256) on 127.0.0.1, a role kea that owns the database and Kea's
// tables and is no superuser. So a missing right fails here, too.
//
// A test package needs one line, and gets one server for all of its tests,
// started by the first test that asks for it:
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }
//
//	func TestSomething(t *testing.T) {
//		t.Parallel()
//		conn, err := pgx.Connect(t.Context(), pgtest.DB(t))
//
// Every call of [DB] gives a database of its own, a copy of a template that is
// filled once per server. [SchemaDB] gives one with the tables of a later Kea. A
// test that stops or restarts the server must not do that to the others: it calls
// [Start] and has a server to itself.
//
// # What is left behind
//
// Nothing, in all the ways that a process can end. [Server.Stop] removes the
// data directory. If the process dies without calling it, the kernel sends the
// server a SIGQUIT (parent death signal), and the next [Start] removes the
// directory: a lock on it says whether its owner still lives.
//
// Linux only, because of the parent death signal.
package pgtest
