package daemon

// Stalled opens the list of hanging loops to tests that run on a false clock,
// which cannot pass a socket.
func (d *Daemon) Stalled() []string { return d.stalled() }
