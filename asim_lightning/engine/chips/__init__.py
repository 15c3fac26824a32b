"""A chip: the differences between its places, which stay the same for its life. They are drawn as a function of place,
or read from a file.

`places` says where a layer's converters and cells are, and `effects` how they differ. `converters` and `cells` compute
with these differences, and `saved_chip` reads a file.
"""
