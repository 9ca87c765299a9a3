package soak

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/keastream/keastream/solidsim"
)

// dnsKinds are the kinds of faults of the DNS writers and of what they alone
// depend on. They strike beside those of the publishers.
var dnsKinds = []kind{
	{name: "leading DNS writer killed", class: ofDNSWriter, longest: 3 * second, strike: killLeading},
	{name: "leading DNS writer ended by SIGTERM", class: ofDNSWriter, longest: 2 * second, strike: stopLeading},
	{name: "standby DNS writer killed", class: ofDNSWriter, longest: 3 * second, strike: killStandbyDNSWriter},
	{name: "both DNS writers killed", class: ofDNSWriter, longest: 3 * second, strike: killBothDNSWriters},
	{name: "leading DNS writer killed, and who took over", class: ofDNSWriter, longest: 600 * time.Millisecond, length: time.Minute, strike: killLeadingTwice},
	{name: "leading DNS writer killed while its writes sit in a socket", class: ofAPIRoute, alone: true, shortest: 2 * second, longest: 6 * second, strike: killSending},
	{name: "leading DNS writer frozen for less than its lease", class: ofDNSWriter, shortest: second, longest: 5 * second, strike: freezeLeading},
	{name: "leading DNS writer frozen for more than its lease", class: ofDNSWriter, shortest: 14 * second, longest: 20 * second, length: time.Minute, strike: freezeLeading},
	{name: "leading DNS writer frozen for a minute", class: ofDNSWriter, shortest: 60 * second, longest: 62 * second, length: 5 * time.Minute, strike: freezeLeading},

	{name: "leading DNS writer cut off from NATS", class: ofDNSNATSRoute, longest: 4 * second, strike: leadingOnNATS(cut)},
	{name: "leading DNS writer cut off from NATS for more than its lease", class: ofDNSNATSRoute, shortest: 14 * second, longest: 18 * second, length: time.Minute, strike: leadingOnNATS(cut)},
	{name: "connections of the leading DNS writer to NATS stalled", class: ofDNSNATSRoute, shortest: 2 * second, longest: 6 * second, strike: leadingOnNATS(hold)},

	{name: "DNS writers cut off from SOLIDserver", class: ofAPIRoute, longest: 4 * second, strike: onAPI(cut)},
	{name: "requests to SOLIDserver stalled", class: ofAPIRoute, shortest: 2 * second, longest: 5 * second, strike: onAPI(hold)},
	{name: "answers of SOLIDserver stalled", class: ofAPIRoute, shortest: 2 * second, longest: 5 * second, strike: onAPI(holdAnswers)},
	{name: "answers of SOLIDserver stalled for more than the time-outs", class: ofAPIRoute, shortest: 7 * second, longest: 10 * second, length: time.Minute, strike: onAPI(holdAnswers)},

	{name: "SOLIDserver fails before it does its work", class: ofAppliance, shortest: 2 * second, longest: 5 * second, strike: spoil(failing(false))},
	{name: "SOLIDserver fails after it did its work", class: ofAppliance, shortest: 2 * second, longest: 5 * second, strike: spoil(failing(true))},
	{name: "SOLIDserver resets connections before it does its work", class: ofAppliance, shortest: 2 * second, longest: 5 * second, strike: spoil(resetting(false))},
	{name: "SOLIDserver resets connections after it did its work", class: ofAppliance, shortest: 2 * second, longest: 5 * second, strike: spoil(resetting(true))},
	{name: "SOLIDserver is asked too much", class: ofAppliance, shortest: second, longest: 4 * second, strike: spoil(overloaded)},
	{name: "answers of SOLIDserver truncated", class: ofAppliance, shortest: 2 * second, longest: 5 * second, strike: spoil(truncated)},
	{name: "answers of SOLIDserver empty", class: ofAppliance, shortest: 2 * second, longest: 5 * second, strike: spoil(emptied)},
	{name: "SOLIDserver answers with pages of HTML", class: ofAppliance, shortest: 2 * second, longest: 5 * second, strike: spoil(htmlPage)},
	{name: "lists of SOLIDserver in short pages and with rows twice", class: ofAppliance, alone: true, shortest: 2 * second, longest: 4 * second, strike: spoilCheck(uneven)},
	{name: "SOLIDserver answers from an older state", class: ofAppliance, alone: true, shortest: 2 * second, longest: 4 * second, strike: answerFromThePast},
	{name: "SOLIDserver slow", class: ofLatency, shortest: 2 * second, longest: 5 * second, strike: slowSOLIDserver},
	{name: "SOLIDserver hangs", class: ofAppliance, shortest: 2 * second, longest: 5 * second, strike: hang},
	{name: "SOLIDserver hangs for more than the time-outs", class: ofAppliance, shortest: 7 * second, longest: 10 * second, length: time.Minute, strike: hangLong},

	{name: "SOLIDserver pushes nothing to its members", class: ofPushes, shortest: 2 * second, longest: 5 * second, strike: holdPushes(solidsim.InternalServer)},
	{name: "SOLIDserver pushes nothing to one member", class: ofPushes, shortest: 2 * second, longest: 5 * second, strike: holdPushes(secondMember)},
	{name: "SOLIDserver pushes late", class: ofPushes, shortest: 3 * second, longest: 6 * second, strike: pushLate},

	{name: "records deleted by hand", class: ofRecords, strike: deleteOurs},
	{name: "records changed by hand", class: ofRecords, strike: changeOurs},
	{name: "marks of records lost", class: ofRecords, strike: loseMarks},
	{name: "foreign records at names of reservations", class: ofRecords, strike: occupy},
	{name: "foreign records elsewhere", class: ofRecords, strike: settleElsewhere},
	{name: "foreign records removed", class: ofRecords, shortest: 2 * second, longest: 4 * second, strike: vacate},
	{name: "records recreated with other ids", class: ofRecords, strike: renumber},
	{name: "records stored twice", class: ofRecords, strike: double},
	{name: "all records listed with other ids", class: ofRecords, shortest: second, longest: 2 * second, strike: resynchronize},
}

// startDNSWriter starts one, and looks what its predecessor has left it.
func (s *strike) startDNSWriter(d *dnswriter) error {
	s.resolver.lookForOrphans(s.ctx)
	return d.Start()
}

// leading is the DNS writer that leads. If none does for a while, which other faults
// may bring about, it is the one that did last.
func (s *strike) leading() *dnswriter {
	s.until(func() bool {
		return slices.ContainsFunc(s.world.dnswriters, func(d *dnswriter) bool { return d.gauge(metricLeads) == 1 })
	})
	return s.world.dnswriters[max(0, s.world.leader.Load())]
}

func (s *strike) otherDNSWriter(than *dnswriter) *dnswriter {
	if than == s.world.dnswriters[0] {
		return s.world.dnswriters[1]
	}
	return s.world.dnswriters[0]
}

// awaitTakeover waits until another one leads.
func (s *strike) awaitTakeover(from *dnswriter) bool {
	return s.untilCalled(func() bool { return s.otherDNSWriter(from).gauge(metricLeads) == 1 })
}

// killDNSWriter kills one.
func (s *strike) killDNSWriter(d *dnswriter) (running bool, err error) {
	if err := d.Crashed(); err != nil { // killing it would hide that
		return false, broken(err)
	}
	running = d.Running()
	d.kill(s.ctx)
	return running, nil
}

// killed kills one and starts it again.
func (s *strike) killed(d *dnswriter) (bool, error) {
	running, err := s.killDNSWriter(d)
	if err != nil {
		return false, err
	}
	s.wait()
	return running, s.startDNSWriter(d)
}

func killLeading(s *strike) (bool, error) { return s.killed(s.leading()) }

func killStandbyDNSWriter(s *strike) (bool, error) { return s.killed(s.otherDNSWriter(s.leading())) }

func killBothDNSWriters(s *strike) (bool, error) {
	d := s.leading()
	if running, err := s.killDNSWriter(d); err != nil || !running {
		return false, err
	}
	other, err := s.killed(s.otherDNSWriter(d))
	return other, errors.Join(err, s.startDNSWriter(d))
}

// killLeadingTwice kills the second one while it is still about to find out what the
// first one left.
func killLeadingTwice(s *strike) (bool, error) {
	d := s.leading()
	first, err := s.killed(d)
	if err != nil {
		return first, err
	}
	took := s.until(func() bool { return s.world.dnswriters[s.world.leader.Load()].gauge(metricLeads) == 1 })
	pause(s.ctx, time.Duration(s.random.IntN(600))*time.Millisecond)
	again, err := s.killed(s.leading())
	return first && took && again, err
}

// killSending kills the one that leads while its requests do not get to SOLIDserver.
// They get there when another one leads and has looked at everything.
func killSending(s *strike) (bool, error) {
	d := s.leading()
	if err := d.api.hold(toServer); err != nil {
		return false, err
	}
	s.wait()
	running, err := s.killDNSWriter(d)
	took := err == nil && s.awaitTakeover(d)
	pause(s.ctx, time.Duration(s.random.IntN(8000))*time.Millisecond)
	err = errors.Join(err, d.api.heal())
	if err != nil {
		return false, err
	}
	return running && took, s.startDNSWriter(d)
}

// stopLeading also demands that it ends as it should.
func stopLeading(s *strike) (bool, error) {
	d := s.leading()
	running := d.Running()
	err := d.Stop()
	d.gone()
	if err != nil {
		return running, broken(err)
	}
	s.wait()
	return running, s.startDNSWriter(d)
}

func freezeLeading(s *strike) (bool, error) {
	d := s.leading()
	if err := d.Signal(syscall.SIGSTOP); err != nil {
		return false, err
	}
	s.wait()
	return true, d.Signal(syscall.SIGCONT)
}

func leadingOnNATS(do func(*route) error) func(*strike) (bool, error) {
	return func(s *strike) (bool, error) { return s.on(s.leading().nats, do) }
}

// onAPI does something to the ways to SOLIDserver. What is held back arrives after
// all, when who sent it may be gone.
func onAPI(do func(*route) error) func(*strike) (bool, error) {
	return func(s *strike) (bool, error) {
		return s.on([]*route{s.world.dnswriters[0].api, s.world.dnswriters[1].api}, do)
	}
}

func holdAnswers(r *route) error { return r.hold(fromServer) }

// A spoiler decides what goes wrong with a call, by chance.
type spoiler func(c solidsim.Call, chance *rand.Rand) solidsim.Fault

// decisions are those of a spoiler. Each is a function of the seed, of the call,
// and of how often there was such a call, whatever came in between.
type decisions struct {
	seed   uint64
	decide spoiler
	hits   atomic.Int64 // calls that were spoiled

	mu   sync.Mutex
	seen map[uint64]uint64
}

func newDecisions(seed uint64, decide spoiler) *decisions {
	return &decisions{seed: seed, decide: decide, seen: make(map[uint64]uint64)}
}

func (d *decisions) on(_ context.Context, c solidsim.Call) solidsim.Fault {
	h := fnv.New64a()
	for _, part := range []string{c.Method, c.Service, c.Params["rr_name"], c.Params["value1"], c.Params["rr_id"], c.Params["WHERE"], c.Params["offset"]} {
		_, _ = h.Write([]byte(strconv.Itoa(len(part)) + part))
	}
	call := h.Sum64()
	d.mu.Lock()
	d.seen[call]++
	n := d.seen[call]
	d.mu.Unlock()
	fault := d.decide(c, rand.New(rand.NewPCG(d.seed, call+n)))
	if fault != (solidsim.Fault{}) {
		d.hits.Add(1)
	}
	return fault
}

// untilCalled tries for longer than until: without a publisher there are no calls.
func (s *strike) untilCalled(try func() bool) bool {
	for range 3 {
		if s.until(try) {
			return true
		}
	}
	return false
}

// spoil lets a spoiler decide on the calls for a while, and longer until it has
// spoiled one.
func spoil(decide spoiler) func(*strike) (bool, error) {
	return func(s *strike) (bool, error) {
		d := newDecisions(s.random.Uint64(), decide)
		defer s.appliance.spoiling(d.on)()
		s.wait()
		return s.untilCalled(func() bool { return d.hits.Load() > 0 }), nil
	}
}

// spoilCheck is spoil while the DNS writer checks all records.
func spoilCheck(decide spoiler) func(*strike) (bool, error) {
	return func(s *strike) (bool, error) {
		d := newDecisions(s.random.Uint64(), decide)
		defer s.appliance.spoiling(d.on)()
		if err := s.askForCheck(s.ctx); err != nil {
			return false, err
		}
		s.wait()
		return s.untilCalled(func() bool { return d.hits.Load() > 0 }), nil
	}
}

// mostly lets two of three writes and one of three reads be spoiled.
func mostly(c solidsim.Call, chance *rand.Rand, fault solidsim.Fault) solidsim.Fault {
	if n := chance.IntN(3); c.Writes && n > 1 || !c.Writes && n > 0 {
		return solidsim.Fault{}
	}
	return fault
}

func failing(committed bool) spoiler {
	return func(c solidsim.Call, chance *rand.Rand) solidsim.Fault {
		statuses := []int{http.StatusInternalServerError, http.StatusServiceUnavailable, http.StatusUnauthorized, http.StatusGatewayTimeout}
		return mostly(c, chance, solidsim.Fault{Committed: committed, Status: statuses[chance.IntN(len(statuses))]})
	}
}

func resetting(committed bool) spoiler {
	return func(c solidsim.Call, chance *rand.Rand) solidsim.Fault {
		return mostly(c, chance, solidsim.Fault{Committed: committed, Reset: true})
	}
}

// overloaded refuses every call.
func overloaded(solidsim.Call, *rand.Rand) solidsim.Fault {
	return solidsim.Fault{Status: http.StatusTooManyRequests}
}

func truncated(c solidsim.Call, chance *rand.Rand) solidsim.Fault {
	// Half of an answer that is not the right one is no fault of truncation.
	return mostly(c, chance, solidsim.Fault{Committed: !c.Writes || chance.IntN(2) == 0, Truncate: true})
}

// emptied answers with nothing that can be read, as good news.
func emptied(c solidsim.Call, chance *rand.Rand) solidsim.Fault {
	return mostly(c, chance, solidsim.Fault{Committed: chance.IntN(2) == 0, Status: http.StatusOK, Body: "\n"})
}

// htmlPage answers as what stands before the appliance does.
func htmlPage(c solidsim.Call, chance *rand.Rand) solidsim.Fault {
	statuses := []int{http.StatusOK, http.StatusBadGateway, http.StatusForbidden}
	return mostly(c, chance, solidsim.Fault{
		Committed: chance.IntN(2) == 0, Status: statuses[chance.IntN(len(statuses))], Body: "<html><title>Maintenance</title></html>",
	})
}

// uneven has lists in pages that are shorter than was asked for, and rows in them
// twice. What is asked for by name fits into the shortest page.
func uneven(c solidsim.Call, chance *rand.Rand) solidsim.Fault {
	if !strings.HasSuffix(c.Service, "_list") {
		return solidsim.Fault{}
	}
	return solidsim.Fault{Short: !askedName.MatchString(c.Params["WHERE"]) && chance.IntN(2) == 0, Double: chance.IntN(3) == 0}
}

// answerFromThePast answers readings as things were some changes ago. Nobody can
// tell, so what was overlooked by that is found by the next check.
func answerFromThePast(s *strike) (bool, error) {
	s.misled.Store(true)
	return spoilCheck(func(c solidsim.Call, chance *rand.Rand) solidsim.Fault {
		return solidsim.Fault{Stale: !c.Writes && chance.IntN(2) == 0}
	})(s)
}

// holdPushes keeps what is written from the servers that answer DNS. Until then
// it is pending, and a row that was deleted stays in the lists.
func holdPushes(server string) func(*strike) (bool, error) {
	return func(s *strike) (bool, error) {
		before := s.appliance.writes.Load()
		if err := s.appliance.HoldPushes(server); err != nil {
			return false, err
		}
		s.wait()
		struck := s.untilCalled(func() bool { return s.appliance.writes.Load() > before })
		return struck, s.appliance.ReleasePushes(server)
	}
}

// pushLate makes each push as late as the fault lasts, at most.
func pushLate(s *strike) (bool, error) {
	before := s.appliance.writes.Load()
	s.appliance.SetPushDelay(s.lasts / time.Duration(1+s.random.IntN(10)))
	s.wait()
	struck := s.untilCalled(func() bool { return s.appliance.writes.Load() > before })
	s.appliance.SetPushDelay(0)
	return struck, nil
}

func slowSOLIDserver(s *strike) (bool, error) {
	s.appliance.SetLatency(time.Duration(200+s.random.IntN(600)) * time.Millisecond)
	s.wait()
	s.appliance.SetLatency(0)
	return true, nil
}

// writeTimeout is after what time the DNS writer gives up a write. It is no
// setting.
const writeTimeout = 5 * time.Second

// hang keeps back every write, or everything, and then does the work, whoever
// still waits for it.
func hang(s *strike) (bool, error) { return s.hang(s.random.IntN(2) == 0, 0) }

// hangLong does it until it has kept back a write for so long that the DNS writer
// has given it up.
func hangLong(s *strike) (bool, error) { return s.hang(false, writeTimeout+time.Second) }

// hang also lasts until it has kept back a call, and one for some time.
func (s *strike) hang(reads bool, patience time.Duration) (bool, error) {
	released := make(chan struct{})
	var first atomic.Int64 // when the first call was held, in ns
	done := s.appliance.spoiling(func(ctx context.Context, c solidsim.Call) solidsim.Fault {
		if !c.Writes && !reads {
			return solidsim.Fault{}
		}
		began := time.Now()
		first.CompareAndSwap(0, began.UnixNano())
		select {
		case <-released:
		case <-ctx.Done():
		}
		if c.Writes && time.Since(began) > writeTimeout {
			s.coverage.add(s.coverage.reached, caseLate, 1)
		}
		return solidsim.Fault{}
	})
	s.wait()
	struck := s.untilCalled(func() bool { return first.Load() > 0 && time.Since(time.Unix(0, first.Load())) > patience })
	done()
	close(released)
	return struck, nil
}

// checksItself tells whether the DNS writer checks all records by itself.
func (r *run) checksItself() bool { return r.options.Sweep < time.Minute }

// askForCheck makes the DNS writers check all records, which the one that leads
// does when it begins to, unless they do so by themselves.
func (r *run) askForCheck(ctx context.Context) error {
	if r.checksItself() {
		return nil
	}
	r.times.note("SOAK", "restarts the DNS writers for a check")
	for _, d := range r.world.dnswriters {
		if err := errors.Join(d.listens(ctx), d.Crashed(), d.Stop()); err != nil {
			return broken(err)
		}
		d.gone()
	}
	r.resolver.lookForOrphans(ctx)
	for _, d := range r.world.dnswriters {
		if err := d.Start(); err != nil {
			return err
		}
	}
	return nil
}
