"""The whole federation on one machine: phantoms, partitions, baselines and the loopback exchange."""
