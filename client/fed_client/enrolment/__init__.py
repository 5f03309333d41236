"""How a hospital joins: its keys are made here, a certificate comes back, and it is renewed by itself."""
