package events

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The subjects of the stream. Only values that never change for a row stand in
// a subject: were a name or a cabinet in it, a rename would leave the old
// subject behind for ever.
const (
	// StreamName is the name of the JetStream stream.
	StreamName = "KEA"
	// AllSubjects matches every subject of the stream.
	AllSubjects = "kea.>"

	reservationPrefix = "kea.reservations."
	sourcePrefix      = "kea.sources."
)

var sourcePattern = regexp.MustCompile(`^[a-z0-9_-]{1,32}$`)

// CheckSource returns an error unless name can be a source: 1 to 32 lower-case
// letters, digits, underscores or hyphens.
func CheckSource(name string) error {
	if !sourcePattern.MatchString(name) {
		return fmt.Errorf("source %q: must be 1 to 32 characters of a-z, 0-9, _ and -", name)
	}
	return nil
}

// ReservationSubject returns the subject that holds the state of one row,
// kea.reservations.<source>.<host_id>. The source must be valid.
func ReservationSubject(k Key) string {
	return reservationPrefix + k.Source + "." + strconv.FormatInt(k.HostID, 10)
}

// ReservationsFilter returns the filter that matches all rows of one source.
func ReservationsFilter(source string) string { return reservationPrefix + source + ".*" }

// SourceSubject returns the subject of the heartbeats of a source,
// kea.sources.<source>. The source must be valid.
func SourceSubject(source string) string { return sourcePrefix + source }

// errForeignSubject marks a message on a subject that this version of the
// contract does not know. Later versions may add subjects below kea.>, so
// consumers skip it.
var errForeignSubject = errors.New("a subject that this version does not know")

// parseReservationSubject is the inverse of ReservationSubject. It accepts
// exactly the texts that ReservationSubject makes.
func parseReservationSubject(subject string) (Key, error) {
	rest, ok := strings.CutPrefix(subject, reservationPrefix)
	if !ok {
		return Key{}, errForeignSubject
	}
	source, id, _ := strings.Cut(rest, ".")
	if err := CheckSource(source); err != nil {
		return Key{}, fmt.Errorf("subject %q: %w", subject, err)
	}
	host, err := strconv.ParseInt(id, 10, 64)
	if err != nil || strconv.FormatInt(host, 10) != id {
		return Key{}, fmt.Errorf("subject %q: %q is not a host_id", subject, id)
	}
	return Key{Source: source, HostID: host}, nil
}

// parseSourceSubject is the inverse of SourceSubject.
func parseSourceSubject(subject string) (string, error) {
	source, ok := strings.CutPrefix(subject, sourcePrefix)
	if !ok {
		return "", errForeignSubject
	}
	if err := CheckSource(source); err != nil {
		return "", fmt.Errorf("subject %q: %w", subject, err)
	}
	return source, nil
}
