"""Measures what this project promises about speed, as ratios within one run; anyone can run it."""
