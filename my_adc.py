import numpy as np
import torch
from asim_lightning.circuit import Charge

class Droop(Charge):
    """A charge column that loses 2 % of its level at full scale."""

    def level(self, count, cycle):
        return super().level(count * (1 - 0.02 * count / cycle.full_scale), cycle)

class Tested(Charge):
    """Offsets from a tester's file, and a gain that falls along the columns of each macro."""

    def __init__(self, macro, file=None, slope=0.0):
        super().__init__(macro)
        self.slope = slope
        self.offsets = torch.zeros(1) if file is None else torch.from_numpy(np.loadtxt(file, ndmin=1)).float()

    def converters(self, places):        # gain, and offset in LSB: a number for all converters, or one for each
        return 1.0 - self.slope * places.column, self.offsets[places.column % len(self.offsets)]

class TwoKinds(Charge):
    """Columns in turn of two kinds of converters, the second with a droop and more noise."""

    curves = 2

    def of_curves(self, curve, count, cycle):   # level and sigma of converters that have curve 0 or 1
        level, sigma = self.level(count, cycle), self.sigma(count, cycle)
        return torch.where(curve == 0, level, 0.98 * level), torch.where(curve == 0, sigma, 1.5 * sigma)
