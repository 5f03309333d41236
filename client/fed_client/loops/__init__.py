"""Compiled loops of the training; they need no torch, so that they can be compiled while torch is loaded."""
