"""Kernels in C++, compiled when the package is installed, and called through ctypes with the addresses of tensors.

Tile: the rows of one macro. A product with more terms than rows is split over several tiles.
Plane: one bit of an operand over a tile. A count is the number of ones in the AND of two planes.
Digit: the value of the bits that a cycle uses together. A plane is a digit of one bit.
Quad: four channels of one operand, as the four bytes of a 32-bit word. Every packed operand consists of quads.
Lane: one element of a vector. Neighbouring lanes hold neighbouring pixels (or outputs) of the same cycle.
Block: up to 16 singles by 16 lanes, converted together. Singles are outputs (or pixels), of the other side than lanes.
Converter: the ADC at the end of a column, by its number; every image uses the same converters.
Trial: one read of one chip, with its own noise. Vote: one of several conversions of a count that make one code.
Level: a set of instructions that a library is compiled for: portable (SSE2, NEON), AVX2, AVX-512.
"""
