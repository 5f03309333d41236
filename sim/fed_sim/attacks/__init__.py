"""What a dishonest hospital can do: planted, so that a defence is shown to stop what works without it."""
