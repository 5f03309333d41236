"""Plays a coordinator that wants to know who is in a hospital, and judges what it can find out."""
