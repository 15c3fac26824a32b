"""Studies of a network: sweep, search, spec and doctor."""
