package modeltest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/keastream/keastream/pkg/events"
	"github.com/keastream/keastream/pkg/events/eventstest"
	"github.com/keastream/keastream/services/dnswriter/bucket"
	"github.com/keastream/keastream/solidsim"
)

const (
	server   = solidsim.InternalServer
	user     = "keastream"
	password = "correct horse battery staple"

	// holdDown passes by the clocks of the sources, so a test does not wait for it.
	// By our own clock it has to pass before a conflict between rows is raised.
	holdDown = time.Second
	step     = 600 * time.Millisecond // of these clocks, with each heartbeat
	// patience is how long DNS may take to become what it has to be. It takes some
	// tenths of a second on a machine that is not busy.
	patience = 2 * time.Minute
)

// sources are the Kea databases.
var sources = []string{"standby", "us3"}

// tb is a test or a run of rapid.
type tb interface {
	Helper()
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// broker is the nats-server of all worlds, which have it one after the other.
type broker struct {
	t    *testing.T
	url  string
	conn *nats.Conn
	js   jetstream.JetStream
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	srv := eventstest.Start(t)
	b := &broker{t: t, url: srv.URL(), conn: srv.Connect()}
	js, err := jetstream.New(b.conn)
	if err != nil {
		t.Fatal(err)
	}
	b.js = js
	return b
}

// deleteBucket deletes what instances keep, if there is anything.
func (b *broker) deleteBucket() {
	b.t.Helper()
	if err := b.js.DeleteKeyValue(b.t.Context(), bucket.Name); err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		b.t.Fatal(err)
	}
}

// renew empties the stream, and deletes the bucket.
func (b *broker) renew() {
	b.t.Helper()
	b.deleteBucket()
	eventstest.Open(b.t, b.conn, events.StreamConfig{})
	stream, err := b.js.Stream(b.t.Context(), events.StreamName)
	if err == nil {
		err = stream.Purge(b.t.Context())
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// world is what the reconciler lives in, and what the model knows of it.
type world struct {
	t       tb
	broker  *broker
	reached *cases
	options options
	sim     *solidsim.Sim
	ca      string // path of the file
	sources map[string]*eventstest.Source
	epoch   int
	fences  int
	nextID  int64
	edited  bool // by hand, since DNS was last at rest
	refills int
	starts  int
	dropped []events.Reservation // together
	freezes int                  // how often one was asked for
	cuts    int                  // likewise
	healAt  time.Time            // when an instance that is cut off is not any more; zero: none is
	late    bool                 // a write of the past has done harm
	history history              // what happened, for a failure

	instances  []*process // changed by the test's goroutine alone, under mu
	lastLeader atomic.Pointer[process]
	bucket     *bucket.Bucket // of persons

	mu   sync.Mutex
	rows map[events.Key]events.Reservation // as the databases have them
	// foreign are the records of others, as they have to stay.
	foreign []solidsim.Record
	// steady are records of ours that were there when DNS was last at rest, and
	// were asked for without a break ever since: nothing may take them away.
	steady map[record]bool
	// armed are faults that wait for a write, by its method.
	armed map[string][]solidsim.Fault
	// away is how many calls more the server does not answer.
	away int
	// toCrash is how many writes more the process lives, 0: it is not to crash, and
	// crashOn the method of those that count, "": all.
	toCrash int
	crashOn string
	// effects is how many writes have come about.
	effects int
	// wrote are the instances that made one since DNS was last at rest.
	wrote map[int]bool
	// toFreeze waits for a write, frozen stands still.
	toFreeze, frozen *freeze
	// intruders is into how many names more somebody puts a record beside ours.
	intruders int
	// intruded are the sets with such a record: ours is withdrawn when it is read
	// back, and nobody knows from outside whether it was.
	intruded map[set]bool
	brakes   *brakes
	wrong    []string
}

type options struct {
	form    form
	limit   string // of the brake
	sweep   time.Duration
	workers int
}

func newWorld(t tb, broker *broker, reached *cases, o options) *world {
	t.Helper()
	sim, err := solidsim.Start(broker.t.Context(), solidsim.Config{
		Zones: []string{zone, reverse4, reverse6}, Users: map[string]string{username(0): password, username(1): password},
	})
	if err != nil {
		t.Fatalf("start the simulator: %v", err)
	}
	w := &world{
		t: t, broker: broker, reached: reached, options: o, sim: sim,
		ca:      filepath.Join(broker.t.TempDir(), "ca.pem"),
		sources: make(map[string]*eventstest.Source),
		rows:    make(map[events.Key]events.Reservation),
		steady:  make(map[record]bool),
		armed:   make(map[string][]solidsim.Fault),
		wrote:   make(map[int]bool),

		intruded: make(map[set]bool),
		bucket:   bucket.New(broker.conn),
		brakes:   newBrakes(o.limit),
	}
	if err := os.WriteFile(w.ca, sim.CAPEM(), 0o600); err != nil {
		t.Fatalf("write the CA: %v", err)
	}
	broker.renew()
	w.open(time.Time{})
	sim.SetFaults(w.hook)
	return w
}

// open opens the sources on the stream as it is.
func (w *world) open(now time.Time) {
	w.epoch++
	for _, name := range sources {
		src := eventstest.NewSource(w.broker.t, w.broker.conn, name)
		src.Epoch = fmt.Sprintf("epoch-%d", w.epoch)
		if now.After(src.Now) {
			src.Now = now
		}
		w.sources[name] = src
	}
}

func (w *world) close() {
	for _, p := range w.instances {
		w.stop(p)
	}
	unknown := w.sim.Calls().UnknownParameters
	if err := w.sim.Close(); err != nil {
		w.t.Fatalf("close the simulator: %v", err)
	}
	if len(unknown) > 0 {
		w.t.Fatalf("the appliance would have ignored parameters: %v", unknown)
	}
}

// change changes the rows of the databases. What is not asked for without a break
// is not steady any more, from before the reconciler can know.
func (w *world) change(f func(rows map[events.Key]events.Reservation)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w.rows)
	wanted := want(w.rows)
	maps.DeleteFunc(w.steady, func(r record, _ bool) bool { return wanted[r.set] == nil || !wanted[r.set].values[r.value] })
}

// put inserts rows or changes them.
func (w *world) put(rows ...events.Reservation) {
	w.change(func(all map[events.Key]events.Reservation) {
		for _, r := range rows {
			all[r.Key()] = r
		}
	})
	w.publish(rows)
}

func (w *world) publish(rows []events.Reservation) {
	for _, r := range rows {
		w.note("  row %v: %s %v %v, device %s", r.Key(), r.Hostname, r.IP, r.IPv6, r.Identifier)
	}
	for _, name := range sources {
		some := slices.DeleteFunc(slices.Clone(rows), func(r events.Reservation) bool { return r.Source != name })
		if len(some) > 0 {
			w.sources[name].Put(some...)
		}
	}
}

// drop deletes rows.
func (w *world) drop(keys ...events.Key) {
	w.change(func(all map[events.Key]events.Reservation) {
		for _, key := range keys {
			delete(all, key)
		}
	})
	for _, key := range keys {
		w.note("  delete %v", key)
		w.sources[key.Source].Delete(key.HostID)
	}
}

// beat has every source give a sign of life.
func (w *world) beat(forward time.Duration) {
	for _, name := range sources {
		w.sources[name].Beat(forward)
	}
}

// live returns the rows, ordered.
func (w *world) live() []events.Reservation {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.rows), func(a, b events.Reservation) int { return a.Key().Compare(b.Key()) })
}

// byHand edits DNS as a person does. The reconciler goes on meanwhile, so that an
// edit may come too late and be refused.
func (w *world) byHand(f func() error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.edited = true
	if err := f(); err != nil {
		w.t.Logf("edit by hand: %v", err)
	}
}

// plant adds a record of somebody else. The caller holds w.mu.
func (w *world) plant(r solidsim.Record) error {
	if err := w.sim.Add(server, r); err != nil {
		return err
	}
	w.foreign = append(w.foreign, r)
	return nil
}

// ours returns our records.
func (w *world) ours() []solidsim.Record {
	return slices.DeleteFunc(w.sim.Records(server), func(r solidsim.Record) bool { return !isOurs(r) })
}

func recordOf(r solidsim.Record) record { return record{set{r.Name, r.Type}, r.Value} }

// inspect looks for what must not be at any time. The caller holds w.mu.
func (w *world) inspect() {
	records := w.sim.Records(server)
	ours, _ := split(records)
	for r := range w.steady {
		if ours[r.set][r.value] == 0 {
			w.fault("%s is gone, although somebody asked for it all the time", r)
			delete(w.steady, r)
		}
	}
	foreign := slices.DeleteFunc(records, isOurs)
	order := func(a, b solidsim.Record) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Type, b.Type), strings.Compare(a.Value, b.Value),
			strings.Compare(a.ClassParameters, b.ClassParameters), cmp.Compare(a.TTL, b.TTL))
	}
	slices.SortFunc(foreign, order)
	slices.SortFunc(w.foreign, order)
	if !slices.Equal(foreign, w.foreign) {
		w.fault("the records of others are\n%+v\nwant\n%+v", foreign, w.foreign)
		w.foreign = foreign
	}
}

func (w *world) fault(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// sound fails if something was seen that must not be.
func (w *world) sound() {
	w.mu.Lock()
	w.inspect()
	wrong := w.wrong
	w.mu.Unlock()
	if len(wrong) > 0 {
		w.fail("%s", strings.Join(wrong, "\n"))
	}
}

// fail fails, and tells everything of this run: rapid tells only of a later one,
// in which other goroutines may have been faster.
func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	text := new(strings.Builder)
	fmt.Fprintf(text, "%s\n%+v:\n%s\n", fmt.Sprintf(format, args...), w.options, strings.Join(w.history.lines, "\n"))
	for _, r := range w.sim.Records(server) {
		fmt.Fprintf(text, "record %+v\n", r)
	}
	for _, p := range w.instances {
		fmt.Fprintf(text, "log of instance %d:\n%s", p.number, p.journal.tail())
	}
	w.broker.t.Log(text)
	w.t.Fatalf(format, args...)
}

type history struct {
	mu    sync.Mutex
	lines []string
}

// note writes down what happens.
func (w *world) note(format string, args ...any) {
	w.history.mu.Lock()
	defer w.history.mu.Unlock()
	w.history.lines = append(w.history.lines, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}
