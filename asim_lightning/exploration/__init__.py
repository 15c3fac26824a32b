"""Studies: which condition to evaluate next, who computes it, and when to stop; spec and doctor."""
