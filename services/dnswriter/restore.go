package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keastream/keastream/services/dnswriter/reconcile"
)

// restoreSQL returns the statements that put a reservation back into Kea's
// database, as far as its last event holds it, under the host_id that it had. They
// work with every schema from 13 on. If that cannot be done, it returns a comment
// that says why.
//
// The event holds any text that somebody wrote into Kea, and a person is to run
// this: nothing of it stands in a literal that is not made of plain characters.
func restoreSQL(gone reconcile.RemovedItem) string {
	var sql strings.Builder
	fmt.Fprintf(&sql, "-- Source %s, host_id %d, deleted %s. Options, client classes, boot fields, delegated\n"+
		"-- prefixes and the user context are in no event and do not come back.\n",
		comment(gone.Source), gone.HostID, stampUTC(gone.At))
	for _, text := range gone.Invalid {
		fmt.Fprintf(&sql, "-- Not known: %s\n", comment(text))
	}
	kind, err := identifierNumber(gone.IdentifierType)
	_, hexErr := hex.DecodeString(gone.Identifier)
	switch {
	case gone.Replaced:
		return sql.String() + "-- Not to be restored: a reservation with this identifier is in this subnet again.\n"
	case err != nil || hexErr != nil || gone.Identifier == "" || slices.ContainsFunc(gone.Invalid, ofIdentifier):
		return sql.String() + "-- Cannot be restored: its identifier is not known whole.\n"
	}
	address := "NULL"
	if gone.IP.Is4() {
		b := gone.IP.As4()
		address = strconv.FormatUint(uint64(binary.BigEndian.Uint32(b[:])), 10)
	}
	fmt.Fprintf(&sql, "BEGIN;\nINSERT INTO hosts (host_id, dhcp_identifier, dhcp_identifier_type, dhcp4_subnet_id, dhcp6_subnet_id, ipv4_address, hostname)\n"+
		"VALUES (%d, decode('%s', 'hex'), %d, %s, %s, %s, %s);\n",
		gone.HostID, gone.Identifier, kind, subnetLiteral(gone.Subnet4), subnetLiteral(gone.Subnet6), address, textLiteral(gone.Hostname))
	for _, addr := range gone.IPv6 {
		fmt.Fprintf(&sql, "INSERT INTO ipv6_reservations (address, prefix_len, type, host_id) VALUES ('%s', 128, 0, %d);\n", addr.WithZone(""), gone.HostID)
	}
	return sql.String() + "COMMIT;\n"
}

func ofIdentifier(invalid string) bool { return strings.HasPrefix(invalid, "identifier") }

// identifierNumber returns what Kea's table host_identifier_type has for a name.
func identifierNumber(name string) (int64, error) {
	if i := slices.Index([]string{"hw-address", "duid", "circuit-id", "client-id", "flex-id"}, name); i >= 0 {
		return int64(i), nil
	}
	n, err := strconv.ParseUint(name, 10, 15)
	return int64(n), err
}

func subnetLiteral(subnet *int64) string {
	if subnet == nil {
		return "NULL"
	}
	return strconv.FormatInt(*subnet, 10)
}

// textLiteral writes a text so that it means the same whatever is in it and
// whatever the session's settings are: quotes and backslashes could end a literal,
// and control characters move a cursor.
func textLiteral(text string) string {
	plain := func(r rune) bool {
		return r < 128 && (strings.ContainsRune("._-", r) || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
	}
	switch {
	case text == "":
		return "NULL"
	case !strings.ContainsFunc(text, func(r rune) bool { return !plain(r) }):
		return "'" + text + "'"
	}
	return fmt.Sprintf("convert_from(decode('%x', 'hex'), 'UTF8')", text)
}

// comment keeps a text within its line.
func comment(text string) string { return printable(text) }
