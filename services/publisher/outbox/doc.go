// Package outbox is the PostgreSQL side of the publisher: what it installs in
// Kea's database, and how that is read.
//
// # Marks, not states
//
// Statement triggers on Kea's tables hosts and ipv6_reservations write into
// keastream.outbox which hosts a statement changed, in the transaction of the
// change: the mark commits if, and only if, the change does. They do not write
// what a host became. The reader takes marks and states together, in one
// snapshot of the database, so a state is never older than its mark, and deletes
// exactly the marks that it has dealt with. There is one mark per host and
// transaction.
//
// A trigger that fails, or that waits for somebody who waits for Kea, takes
// Kea's own write with it. So the triggers call nothing that can fail for any
// value of a row, lock nothing but the row that they insert, and read no table
// of Kea's. The transaction is part of a mark's unique key, so two writers
// never meet there, at any isolation level. functions.sql has the rules and
// their reasons. What remains: PostgreSQL refuses NOTIFY in a transaction that
// is prepared for two-phase commit, and rows that are written with
// session_replication_role = replica or by logical replication fire no trigger.
// For the latter there is the comparison of everything, which the reader makes
// at its start and every now and then.
//
// # Wake-ups
//
// A statement sends NOTIFY on the channel, for up to 100 hosts one payload each:
//
//	{"operation":"INSERT","hostname":"us3-cab10-ru20-idrac","ipv4_address":2887652196,
//	 "dhcp_identifier":"aabbccddeeff","ip":"172.30.19.100","mac":"aa:bb:cc:dd:ee:ff","host_id":5}
//	{"operation":"INSERT","host_id":5,"address":"2001:db8::10"}
//	{"operation":"WAKE"}
//
// The first is for hosts (hostname and ipv4_address are null where the row has
// none, ip and mac are left out), the second for ipv6_reservations, the third for
// more hosts than that and for TRUNCATE. Identifiers are cut after 128 bytes.
// Whoever listens may read them, and must not believe them: anybody may NOTIFY.
//
// NOTIFY makes committing transactions queue up behind each other, in all
// databases of a cluster. So only one open transaction of a database at a time
// sends, the holder of a lock; a session with a lock_timeout does not, because
// its COMMIT could fail; and nobody does while PostgreSQL's queue is half full. A
// change may thus come without a wake-up, and the reader has to look for itself
// now and then.
//
// # Advisory locks
//
// With two keys, the first 1801806195 (the bytes "keas"), all of them released
// at the end of a transaction:
//
//	0  an installation, or the opposite
//	1  the transaction that sends NOTIFY
//
// With one key there is [PublisherLock]. The active publisher holds it as long as
// its session lives, and Uninstall until its transaction ends.
//
// # In and out
//
// [Install] and [Uninstall] are each one transaction of SQL, which [Script] and
// [UninstallScript] give to whoever runs it by hand; [Check] says what is not as
// it should be.
//
// # Without an installation
//
// Read with Direct reads the same states from Kea's tables, with no more than
// the right to SELECT from them: the statement is that of the installed function
// (shared.sql). There are no marks then.
//
// # Roles
//
// keastream_owner, without login, owns schema keastream and may read what it
// needs of Kea's tables, which leaves out the secret auth_key. keastream_relay,
// without login, may read and delete marks and call snapshot and position, and
// has no right on Kea's tables; it is granted to the roles that the publisher
// logs in as. The owner of Kea's tables may read schema keastream, because its
// pg_dump locks every table; it needs no right to fire the triggers.
package outbox
