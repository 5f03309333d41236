"""The finished model: co-signed by the sites, let go by the coordinator, and checked by whoever wants to."""
