// Package cabinet turns reservations into the inventory files of cabinets, and
// such files back into what they say. It does no I/O and keeps no state.
//
// A host name tells where a device stands: [Patterns] finds its [Place], site,
// cabinet and rack units. [Patterns.Group] collects all reservations into one
// [Cabinet] per file, [Layout.Render] writes the bytes of a file, [Parse] reads
// them, and [Same] compares two files without the time in them.
//
// # What a file may hold
//
// A file is read by programs that take values for numbers (YAML 1.1 reads
// 10:20:30:40:50:59 as one) and run them as templates (Ansible). So every string
// stands in double quotes, and no text of a reservation gets into a file as it
// is: a host name is the canonical one of package events, an address is a
// [net/netip.Addr] printed again, a MAC address six octets of hex, a manufacturer
// a setting that was checked or a part of a host name. What is read back from a
// file passes through the same forms. A reservation with a text that Ansible would
// run gives no line at all, so that somebody looks at it ([Template]).
package cabinet
