// Package relay carries reservations from Kea's database into the stream.
//
// # How nothing is lost
//
// The triggers leave a mark for each changed row, in the transaction of the
// change. A round of the relay reads marks and the states of their rows in one
// snapshot, publishes the states, and then removes exactly those marks:
//
//	read marks + rows ──> publish, acknowledged on disk ──> remove the marks
//	      │ crash here: nothing happened        │ crash here: published again
//
// A comparison is the same round over all rows, against a stream that was read
// for the purpose. It comes first in every leadership, after every lost
// connection, hourly and on demand. So whatever the stream lost, or a missing
// trigger did not tell, is repaired by the function that does the daily work.
//
// # How nothing goes back
//
// One session of PostgreSQL listens, holds an advisory lock, reads and removes;
// only the publisher that holds the lock publishes. As the lock cannot reach
// into NATS, every message is also stored on the condition that the subject
// still holds what this publisher saw last, and a heartbeat on the condition
// that the last heartbeat was its own. A publisher that lost the lock and does
// not know is refused, and starts again from a comparison.
//
// # When it reads
//
// A notification wakes the relay; it may be missing (triggers notify only if
// they get a lock without waiting) or forged (anybody may notify), so the relay
// also looks by itself: 10 ms after any activity, then after ever longer pauses
// up to Poll.
//
// # Without the outbox
//
// In a database in which nothing was installed there are no marks. Then a round
// is always a comparison, of Kea's tables themselves: a minute after the last
// one, and soon after any notification, such as those of the replaced system's
// trigger. Anybody may notify, so there is a pause after a comparison that grows
// with what it took. Each comparison looks for the outbox first and goes over to
// it once it is installed. The way back is not taken in silence: heartbeats say
// that the source has an outbox, and a relay that reads this and finds none
// publishes nothing.
package relay
