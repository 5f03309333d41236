"""Draws breast ultrasounds and trains a network to judge them: it has learnt from no patient."""
