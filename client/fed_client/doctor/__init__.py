"""Examines a site before it takes part, so that the first round isn't the first to find what is wrong."""
