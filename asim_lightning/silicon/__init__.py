"""From a layer to the bench: vectors for RTL and SPICE, and codes from there back into the network."""
