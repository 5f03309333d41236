"""Plays federations of thousands of virtual sites: the service's training and sums, without its messages."""
