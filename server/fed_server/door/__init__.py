"""The public port: who may come in, how it is checked at every request, and how long a slow caller has."""
