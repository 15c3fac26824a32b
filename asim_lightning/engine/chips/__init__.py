"""A chip: what differs from place to place and stays the same for its life. It is drawn as a function of place, or read
from a file.

`places` says where a layer's converters and cells are, `effects` what differs there, `converters` and `cells` what a
converter and a column of cells make of it, `saved_chip` what a file has.
"""
