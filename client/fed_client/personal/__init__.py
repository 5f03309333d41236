"""A hospital's own part of the model, or its own model: it is trained, measured and kept here."""
