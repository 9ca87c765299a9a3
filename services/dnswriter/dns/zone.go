package dns

// Zone is a master zone as it stands on a DNS server.
type Zone struct {
	// Name is in the form of Record.Name.
	Name string
	// AutoPTR tells that the server itself keeps a PTR record for each A and
	// AAAA record of the zone.
	AutoPTR bool
}
