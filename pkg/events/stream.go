package events

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// StreamConfig says how OpenStream creates the stream when it is missing, and
// how it is written to. The zero value works.
type StreamConfig struct {
	// Replicas is 1 or 3; 0 means 1. An existing stream keeps what it has.
	Replicas int
	// MaxBytes bounds the stream on disk; 0 means 1 GiB, which is room for about
	// three million reservations. When it is full, new reservations are refused
	// and known ones still change. An existing stream keeps what it has.
	MaxBytes int64
	// TombstoneTTL is how long a deletion stays readable; 0 means 720 hours. A
	// consumer that replays at start does not depend on it; one that keeps a
	// position must not be away for longer.
	TombstoneTTL time.Duration
	// Statistics counts what happens while publishing; nil means that nobody
	// wants to know.
	Statistics *Statistics
}

const (
	defaultMaxBytes     = 1 << 30
	defaultTombstoneTTL = 720 * time.Hour
)

// Stream is the publisher's side of the stream of reservations. Its methods
// may be called from several goroutines, but one row or source must not be
// published from two of them at the same time.
type Stream struct {
	conn         *nats.Conn
	js           jetstream.JetStream
	stream       jetstream.Stream
	created      time.Time
	tombstoneTTL time.Duration
	statistics   *Statistics
}

// OpenStream creates the stream, or checks the one that is there. It needs a
// connected server; without one it returns the error of the first request.
//
// The stream keeps the last message of each subject and never drops one to make
// room. It has neither DenyPurge nor DenyDelete: they could never be taken off
// again, and permissions of the server do that job.
func OpenStream(ctx context.Context, conn *nats.Conn, cfg StreamConfig) (*Stream, error) {
	s, err := FindStream(ctx, conn, cfg)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return s, err
	}
	js, err := jetstream.New(conn)
	if err == nil {
		_, err = js.CreateStream(ctx, cfg.stream())
	}
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // created by another one just now
		return nil, fmt.Errorf("open stream %s: %w", StreamName, err)
	}
	return FindStream(ctx, conn, cfg)
}

// FindStream is OpenStream for what must not create a stream. If there is none
// the error wraps jetstream.ErrStreamNotFound.
func FindStream(ctx context.Context, conn *nats.Conn, cfg StreamConfig) (*Stream, error) {
	if err := checkServer(conn.ConnectedServerVersion()); err != nil {
		return nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", StreamName, err)
	}
	s := &Stream{conn: conn, js: js, tombstoneTTL: cfg.TombstoneTTL, statistics: cfg.Statistics}
	if s.tombstoneTTL == 0 {
		s.tombstoneTTL = defaultTombstoneTTL
	}
	if s.statistics == nil {
		s.statistics = new(Statistics)
	}
	s.stream, err = js.Stream(ctx, StreamName)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", StreamName, err)
	}
	info := s.stream.CachedInfo()
	if err := checkStream(info.Config); err != nil {
		return nil, err
	}
	s.created = info.Created
	return s, nil
}

func (cfg StreamConfig) stream() jetstream.StreamConfig {
	maxBytes, replicas := cfg.MaxBytes, cfg.Replicas
	if maxBytes == 0 {
		maxBytes = defaultMaxBytes
	}
	if replicas == 0 {
		replicas = 1
	}
	return jetstream.StreamConfig{
		Name:               StreamName,
		Description:        "last state of every Kea host reservation",
		Subjects:           []string{AllSubjects},
		Retention:          jetstream.LimitsPolicy,
		Storage:            jetstream.FileStorage,
		Replicas:           replicas,
		MaxMsgsPerSubject:  1,
		MaxMsgs:            -1,
		MaxBytes:           maxBytes,
		MaxMsgSize:         MaxMessageSize,
		Discard:            jetstream.DiscardNew,
		AllowMsgTTL:        true,
		AllowDirect:        true,
		AllowAtomicPublish: true,
		Metadata:           map[string]string{"keastream_wire_version": strconv.Itoa(Version)},
	}
}

// checkServer refuses a server that lacks what the stream is made of: message
// TTLs came with 2.11, atomic batches with 2.12.
func checkServer(version string) error {
	const major, minor = 2, 12
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return fmt.Errorf("open stream %s: not connected to a server", StreamName)
	}
	gotMajor, err1 := strconv.Atoi(parts[0])
	gotMinor, err2 := strconv.Atoi(parts[1])
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("%w: cannot read the server's version %q", ErrUnsafeStream, version)
	}
	if gotMajor < major || gotMajor == major && gotMinor < minor {
		return fmt.Errorf("%w: nats-server is version %s, and %d.%d or later is needed", ErrUnsafeStream, version, major, minor)
	}
	return nil
}

// checkStream names every setting with which the stream could lose a
// reservation or refuse what the publisher does.
func checkStream(c jetstream.StreamConfig) error {
	var bad []string
	want := func(ok bool, setting string, got, wanted any) {
		if !ok {
			bad = append(bad, fmt.Sprintf("%s is %v, must be %v", setting, got, wanted))
		}
	}
	want(slices.Equal(c.Subjects, []string{AllSubjects}), "subjects", c.Subjects, AllSubjects)
	want(c.Retention == jetstream.LimitsPolicy, "retention", c.Retention, jetstream.LimitsPolicy)
	want(c.Storage == jetstream.FileStorage, "storage", c.Storage, jetstream.FileStorage)
	want(c.Discard == jetstream.DiscardNew, "discard", c.Discard, jetstream.DiscardNew)
	want(!c.DiscardNewPerSubject, "discard_new_per_subject", c.DiscardNewPerSubject, false)
	want(c.MaxMsgsPerSubject == 1, "max_msgs_per_subject", c.MaxMsgsPerSubject, 1)
	want(c.MaxMsgs <= 0, "max_msgs", c.MaxMsgs, -1)
	want(c.MaxAge == 0, "max_age", c.MaxAge, 0)
	want(c.MaxMsgSize <= 0 || c.MaxMsgSize >= MaxMessageSize, "max_msg_size", c.MaxMsgSize, MaxMessageSize)
	want(c.SubjectDeleteMarkerTTL == 0, "subject_delete_marker_ttl", c.SubjectDeleteMarkerTTL, 0)
	want(c.AllowMsgTTL, "allow_msg_ttl", c.AllowMsgTTL, true)
	want(c.AllowDirect, "allow_direct", c.AllowDirect, true)
	want(c.AllowAtomicPublish, "allow_atomic", c.AllowAtomicPublish, true)
	want(c.PersistMode == jetstream.DefaultPersistMode, "persist_mode", c.PersistMode, jetstream.DefaultPersistMode)
	want(!c.NoAck, "no_ack", c.NoAck, false)
	want(!c.Sealed, "sealed", c.Sealed, false)
	want(c.Mirror == nil, "mirror", c.Mirror, "none")
	want(len(c.Sources) == 0, "sources", len(c.Sources), "none")
	want(c.SubjectTransform == nil, "subject_transform", c.SubjectTransform, "none")
	if bad == nil {
		return nil
	}
	return fmt.Errorf("%w: stream %s: %s; correct it with `nats stream edit %s`, or delete it and let the publisher fill a new one",
		ErrUnsafeStream, StreamName, strings.Join(bad, "; "), StreamName)
}

// Recreated tells whether the stream was deleted, or deleted and created
// again, since it was opened: what was known of it does not hold any more.
func (s *Stream) Recreated(ctx context.Context) (bool, error) {
	info, err := s.stream.Info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask for stream %s: %w", StreamName, err)
	}
	return !info.Created.Equal(s.created), nil
}

// Sources returns the names of the sources that have a heartbeat in the stream,
// retired ones included, in order.
func (s *Stream) Sources(ctx context.Context) ([]string, error) {
	info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(SourceSubject("*")))
	if err != nil {
		return nil, fmt.Errorf("list the sources in stream %s: %w", StreamName, err)
	}
	var names []string
	for subject := range info.State.Subjects {
		if name, err := parseSourceSubject(subject); err == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
