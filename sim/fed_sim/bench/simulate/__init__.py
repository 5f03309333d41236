"""Compares ways to simulate many sites: each way is a program of its own, timed and weighed from outside."""
