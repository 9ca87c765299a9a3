package soak

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/keastream/keastream/internal/e2e"
	"github.com/keastream/keastream/internal/pgtest"
)

// strike is a fault that is under way.
type strike struct {
	*run
	ctx    context.Context
	lasts  time.Duration
	random *rand.Rand
}

const second = time.Second

// kinds are all kinds of faults.
var kinds = []kind{
	{name: "active publisher killed", class: ofPublisher, longest: 3 * second, strike: killActive},
	{name: "standby publisher killed", class: ofPublisher, longest: 3 * second, strike: killStandby},
	{name: "active publisher ended by SIGTERM", class: ofPublisher, longest: 2 * second, strike: stopActive},
	{name: "both publishers started at once", class: ofPublisher, longest: second, strike: startBoth},
	{name: "active publisher frozen for less than the time-outs", class: ofPublisher, shortest: second, longest: 4 * second, strike: freezeActive},
	{name: "active publisher frozen for more than the time-outs", class: ofPublisher, shortest: 23 * second, longest: 26 * second, length: time.Minute, strike: freezeActive},
	{name: "active publisher frozen, superseded and thawed", class: ofPublisher, alone: true, shortest: 2 * second, longest: 4 * second, strike: supersede},

	{name: "database sessions of the publishers terminated", class: ofDatabase, strike: terminate},
	{name: "PostgreSQL restarted fast", class: ofDatabase, longest: 2 * second, strike: restartPostgres(pgtest.Fast)},
	{name: "PostgreSQL stopped as by a crash", class: ofDatabase, longest: 2 * second, strike: restartPostgres(pgtest.Immediate)},
	{name: "database credentials changed", class: ofDatabase, longest: 3 * second, strike: changeCredentials},

	{name: "NATS server killed", class: ofNATS, longest: 3 * second, forms: []Form{Single, Cluster}, strike: killServer},
	{name: "NATS server frozen", class: ofNATS, shortest: second, longest: 5 * second, forms: []Form{Single, Cluster}, strike: freezeServer},
	{name: "leader of the stream killed", class: ofNATS, longest: 3 * second, forms: []Form{Cluster}, strike: killLeader},

	{name: "connection to PostgreSQL half-open, another way free", class: ofDatabaseRoute, alone: true, shortest: 36 * second, longest: 36 * second, strike: halfOpen},
	{name: "connections to PostgreSQL stalled", class: ofDatabaseRoute, shortest: 2 * second, longest: 7 * second, strike: stallPostgres},
	{name: "connections to PostgreSQL cut", class: ofDatabaseRoute, longest: 3 * second, strike: cutPostgres},
	{name: "connections to PostgreSQL slow", class: ofDatabaseRoute, shortest: 2 * second, longest: 4 * second, strike: slowPostgres},

	{name: "answers of NATS stalled", class: ofNATSRoute, alone: true, shortest: 2500 * time.Millisecond, longest: 4 * second, strike: stallAnswers},
	{name: "publications held back until another publisher took over", class: ofNATSRoute, alone: true, shortest: second, longest: 3 * second, strike: overtake},
	{name: "connections to NATS stalled", class: ofNATSRoute, shortest: 2 * second, longest: 8 * second, strike: stallNATS},
	{name: "connections to NATS stalled for more than the time-outs", class: ofNATSRoute, shortest: 32 * second, longest: 36 * second, length: 5 * time.Minute, strike: stallNATS},
	{name: "connections to NATS cut", class: ofNATSRoute, longest: 3 * second, strike: cutNATS},
	{name: "connections to NATS slow", class: ofNATSRoute, shortest: 2 * second, longest: 4 * second, strike: slowNATS},

	{name: "one subject of the stream purged", class: ofStream, strike: purgeSubject},
	{name: "a message overwritten by a stranger", class: ofStream, alone: true, strike: vandalize},
	{name: "a message lost while NATS was away", class: ofStream, alone: true, longest: second, strike: loseMessage},
	{name: "stream deleted", class: ofStream, strike: deleteStream},

	{name: "table hosts truncated", class: ofRows, alone: true, strike: truncate},
}

// until tries for a while: what is to be struck at may be away because of
// another fault of the round.
func (s *strike) until(try func() bool) bool {
	for range 75 {
		if try() {
			return true
		}
		pause(s.ctx, 200*time.Millisecond)
	}
	return false
}

// wait lets the fault last.
func (s *strike) wait() { pause(s.ctx, s.lasts) }

// activePublisher is the one that was seen as the active one last.
func (s *strike) activePublisher() *publisher {
	return s.world.publishers[max(0, s.world.active.Load())]
}

func (s *strike) standbyPublisher() *publisher { return s.otherThan(s.activePublisher()) }

func (s *strike) otherThan(p *publisher) *publisher {
	if p == s.world.publishers[0] {
		return s.world.publishers[1]
	}
	return s.world.publishers[0]
}

// kill kills a publisher and starts it again.
func (s *strike) kill(p *publisher) (bool, error) {
	if err := p.Crashed(); err != nil { // killing it would hide that
		return false, broken(err)
	}
	running := p.Running()
	p.kill(s.ctx)
	s.wait()
	return running, p.Start()
}

func killActive(s *strike) (bool, error)  { return s.kill(s.activePublisher()) }
func killStandby(s *strike) (bool, error) { return s.kill(s.standbyPublisher()) }

// stopActive also demands that the publisher ends as it should.
func stopActive(s *strike) (bool, error) {
	p := s.activePublisher()
	running := p.Running()
	_ = p.look(s.ctx)
	err := p.Stop()
	p.gone()
	if err != nil {
		return running, broken(err)
	}
	s.wait()
	return running, p.Start()
}

func startBoth(s *strike) (bool, error) {
	for _, p := range s.world.publishers {
		p.kill(s.ctx)
	}
	s.wait()
	var both sync.WaitGroup
	errs := make([]error, len(s.world.publishers))
	for i, p := range s.world.publishers {
		both.Go(func() { errs[i] = p.Start() })
	}
	both.Wait()
	return true, errors.Join(errs...)
}

func freezeActive(s *strike) (bool, error) {
	p := s.activePublisher()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return false, err
	}
	s.wait()
	return true, p.Signal(syscall.SIGCONT)
}

// supersede freezes the active publisher, most probably while it has read rows
// and not published them yet, and lets the other one take over. What the first
// one does when it goes on is of the past.
func supersede(s *strike) (bool, error) {
	p, err := s.remote()
	if err != nil || p == nil {
		return false, err
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return false, err
	}
	_, err = terminate(s)
	superseded := s.until(func() bool { return s.activePublisher() != p })
	s.wait()
	return superseded, errors.Join(err, p.Signal(syscall.SIGCONT))
}

// terminate ends the publishers' sessions, which then have to begin again.
func terminate(s *strike) (bool, error) {
	return s.until(func() bool {
		n, err := s.world.ask(s.ctx, `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '`+role+`'`)
		return err == nil && n > 0
	}), nil
}

func restartPostgres(mode pgtest.Mode) func(*strike) (bool, error) {
	return func(s *strike) (bool, error) {
		if err := s.world.pg.Halt(mode); err != nil {
			return false, err
		}
		s.wait()
		return true, s.world.pg.Resume(context.WithoutCancel(s.ctx))
	}
}

// changeCredentials changes the password, ends the sessions, and a little later
// tells the publishers.
func changeCredentials(s *strike) (bool, error) {
	if err := s.world.changePassword(context.WithoutCancel(s.ctx)); err != nil {
		return false, err
	}
	_, err := terminate(s)
	s.wait()
	s.credentials.Store(true)
	return true, errors.Join(err, s.world.writePassword())
}

func (s *strike) killServerNumber(i int) (bool, error) {
	p := s.world.servers[i]
	if err := p.Crashed(); err != nil {
		return false, broken(err)
	}
	running := p.Running()
	p.Kill()
	s.wait()
	return running, p.Start()
}

func killServer(s *strike) (bool, error) {
	return s.killServerNumber(s.random.IntN(len(s.world.servers)))
}

func freezeServer(s *strike) (bool, error) {
	p := s.world.servers[s.random.IntN(len(s.world.servers))]
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return false, err
	}
	s.wait()
	return true, p.Signal(syscall.SIGCONT)
}

func killLeader(s *strike) (bool, error) {
	leader := -1
	if !s.until(func() bool {
		if stream, err := s.stream(); err == nil && stream.CachedInfo().Cluster != nil {
			leader = slices.IndexFunc(s.world.servers, func(p *e2e.Process) bool { return p.Name == stream.CachedInfo().Cluster.Leader })
		}
		return leader >= 0
	}) {
		return false, nil
	}
	return s.killServerNumber(leader)
}

// on does something to routes, lets it last, and heals them.
func (s *strike) on(routes []*route, do func(*route) error) (bool, error) {
	var errs []error
	for _, r := range routes {
		errs = append(errs, do(r))
	}
	s.wait()
	for _, r := range routes {
		errs = append(errs, r.heal())
	}
	return len(routes) > 0, errors.Join(errs...)
}

func hold(r *route) error { return r.hold(toServer, fromServer) }
func cut(r *route) error  { r.cut(); return nil }
func slow(r *route) error { return r.slow(70*time.Millisecond, toServer, fromServer) }

func stallPostgres(s *strike) (bool, error) { return s.on(s.activePublisher().pg, hold) }
func cutPostgres(s *strike) (bool, error)   { return s.on(s.activePublisher().pg, cut) }
func slowPostgres(s *strike) (bool, error)  { return s.on(s.activePublisher().pg, slow) }

// endedDeadSession is what a publisher logs when it ends its own dead session.
const endedDeadSession = "ended a dead connection of this process that held the lock"

// halfOpen makes the session of the active publisher one that is dead and does
// not end. The publisher has to find out, to come by the other way, and to end
// it, for it holds the lock.
func halfOpen(s *strike) (bool, error) {
	p := s.activePublisher()
	before := said(p.Process, endedDeadSession)
	over := func() bool { return said(p.Process, endedDeadSession) > before || s.ctx.Err() != nil }
	for _, r := range p.pg { // it came by the first way that answered, which need not be the first one
		if over() {
			break
		}
		if err := hold(r); err != nil {
			return false, err
		}
		for deadline := time.Now().Add(s.lasts / 2); !over() && time.Now().Before(deadline); {
			pause(s.ctx, 100*time.Millisecond)
		}
		if err := r.heal(); err != nil {
			return false, err
		}
	}
	s.coverage.add(s.coverage.reached, caseHalfOpen, said(p.Process, endedDeadSession)-before)
	return true, nil
}

// natsRoutes returns the active publisher's ways to NATS, or those of the
// other one if NATS is inside the active one.
func (s *strike) natsRoutes() []*route {
	if routes := s.activePublisher().nats; len(routes) > 0 {
		return routes
	}
	return s.standbyPublisher().nats
}

func stallNATS(s *strike) (bool, error) { return s.on(s.natsRoutes(), hold) }
func cutNATS(s *strike) (bool, error)   { return s.on(s.natsRoutes(), cut) }
func slowNATS(s *strike) (bool, error)  { return s.on(s.natsRoutes(), slow) }

// stallAnswers lets publications through and keeps their acknowledgements back:
// what looks as if it had failed has happened.
func stallAnswers(s *strike) (bool, error) {
	p, err := s.remote()
	if err != nil || p == nil {
		return false, err
	}
	return s.on(p.nats, func(r *route) error { return r.hold(fromServer) })
}

// overtake keeps back what the active publisher sends until it has given up, the
// other one has taken over, and rows have changed again. What it sent arrives
// after all and is of the past.
func overtake(s *strike) (bool, error) {
	p, err := s.remote()
	if err != nil || p == nil {
		return false, err
	}
	var overtaken bool
	_, err = s.on(p.nats, func(r *route) error {
		err := r.hold(toServer)
		if r == p.nats[len(p.nats)-1] {
			overtaken = s.until(func() bool { return s.activePublisher() != p })
		}
		return err
	})
	return overtaken, err
}

// remote returns the active publisher, after it made sure that NATS is not in its
// process: if it is, the other one becomes the active one. nil means that it did
// not.
func (s *strike) remote() (*publisher, error) {
	p, index := s.activePublisher(), s.world.active.Load()
	if len(p.nats) > 0 {
		return p, nil
	}
	moved := false
	err := s.cutOff(p.pg, func() error {
		moved = s.until(func() bool { return s.world.active.Load() != index })
		return nil
	})
	if err != nil || !moved {
		return nil, err
	}
	return s.activePublisher(), nil
}

// cutOff does something while routes are cut.
func (s *strike) cutOff(routes []*route, do func() error) error {
	for _, r := range routes {
		r.cut()
	}
	err := do()
	for _, r := range routes {
		err = errors.Join(err, r.heal())
	}
	return err
}
