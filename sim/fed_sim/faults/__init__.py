"""What goes wrong in a federation, planted in a rehearsal for the service's own screening and quorum."""
