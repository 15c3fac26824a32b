"""Kernels in C++, compiled when the package is installed, and called through ctypes with the addresses of tensors.

Tile: the rows of one macro; a product with more terms than rows is split over several tiles.
Plane: one bit of an operand over a tile; a count is the number of ones in the AND of two planes.
Digit: the value of the bits that a cycle uses together; a plane is a digit of one bit.
Quad: four channels of one operand, as the four bytes of a 32-bit word; the layout of every packed operand.
Lane: one element of a vector; neighbouring lanes hold neighbouring pixels (or outputs) of the same cycle.
Block: the outputs (or pixels) that a kernel converts at once for one vector of lanes.
Converter: the ADC at the end of a column, by its number; the same one serves every image.
Trial: one read of one chip, with noise of its own. Vote: one of several conversions of a count, which become one code.
Level: a set of instructions that a library is compiled for: portable (SSE2, NEON), AVX2, AVX-512.
"""
