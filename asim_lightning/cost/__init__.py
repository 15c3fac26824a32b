"""Cost of a converted network for one image: conversions, energy, time and area, by a technology.

Array: the columns that hold a tile of one matrix. Array read: its rows are driven once, with one input digit.
Shift-add: the sum of one digit's codes over weight bits, added to an output. Drivers: DACs of several input bits.
Utilised: on the rows that hold weights; peak: if all rows did. All-digital point: the same products, all digital.
"""

from asim_lightning.cost.cost_report import CostReport
from asim_lightning.cost.energy_model import ActiveCells, ConversionEnergy, EnergyModel
from asim_lightning.cost.layer_cost import Energy, LayerCost
from asim_lightning.cost.network_cost import NetworkShape, cost, network_shape
from asim_lightning.cost.operations import Operations
from asim_lightning.cost.technology import PRESETS, Technology

__all__ = [
    "PRESETS",
    "ActiveCells",
    "ConversionEnergy",
    "CostReport",
    "Energy",
    "EnergyModel",
    "LayerCost",
    "NetworkShape",
    "Operations",
    "Technology",
    "cost",
    "network_shape",
]
