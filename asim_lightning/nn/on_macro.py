"""The base of layers on a macro: the macro, its product, quantised or simulated, and the noise of training."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from asim_lightning.checks import check_choice, check_number, check_whole
from asim_lightning.circuit import MacroConfig, Transfer, transfer
from asim_lightning.engine import (
    ENGINES,
    Chip,
    Conv2dProduct,
    MatmulProduct,
    Noise,
    Product,
    Program,
    SavedChip,
    Weights,
    check_saved,
    choose,
    current_scope,
    refusals,
)
from asim_lightning.engine.product import conversion_count
from asim_lightning.engine.program import Tap
from asim_lightning.engine.reference import ReferenceProgram
from asim_lightning.engine.torch_modes import is_exported
from asim_lightning.nn.assignment import Assignment
from asim_lightning.nn.learnt_range import LearntRange
from asim_lightning.nn.prepared import LayerOperands
from asim_lightning.nn.quantized import QuantizedLayer, along_channels
from asim_lightning.nn.training_noise import ChipNoise, Operands, TrainingNoise, training_noise
from asim_lightning.quant import quantize, scale_of, scale_with_gradient


class OnMacro(QuantizedLayer):
    """A quantised layer whose product a macro computes.

    Args:
        args: Arguments of torch's layer.
        macro: The macro.
        signed_input: Whether inputs are signed (unsigned: 0 or more).
        input_range: "batch", "calibrated", "pact" or "token".
        per_channel: Whether each output's weights have their own scale.
        name: Full name in the network; keys the noise.
        kwargs: More arguments of torch's layer.

    Examples:
        >>> import torch
        >>> from asim_lightning import Plan, convert_
        >>> from asim_lightning.nn import OnMacro
        >>> network = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
        >>> report = convert_(network, Plan(keep=["2"]), torch.rand(1, 4))
        >>> [name for name, layer in network.named_modules() if isinstance(layer, OnMacro)]
        ['0']
    """

    pool: int = 0
    """Number of the macros that the layer shares with others, if weights are reloaded (`surgery.place_tiles_`)."""
    first_tile: int = 0
    """Number of tiles that earlier layers have on these macros."""
    by_row: bool = False
    """Whether rows belong to no sample, such as tokens that a router sends to an expert. The noise of each row is then
    keyed by its integers, and equal rows have equal noise. A row is a vector of a linear layer, or an image of a
    convolution."""
    _train_noise: float = 0.0
    _has_train_noise: bool = False
    _train_noise_model: TrainingNoise = training_noise("proportional")
    _steps: int = 0
    engine: str | None = None
    """Name of the engine that simulates the macro; None: `engine.choose` decides."""
    tap: Tap | None = None
    """Sees each conversion of a simulated call, and may replace its codes; the reference engine computes such calls."""
    max_elements: int | None = None
    """Most counts that the reference engine holds in memory at a time: 1 or more; None: 2^20 on a CPU, 2^26 elsewhere.
    Outputs do not depend on it."""
    checks: ClassVar = {
        **QuantizedLayer.checks,
        "engine": lambda name: None if name is None else check_choice("`engine`", name, tuple(ENGINES)),
        "max_elements": lambda count: (
            None if count is None else check_whole("`max_elements`", count, 1, also=", or null")
        ),
    }

    def _setup(  # type: ignore[override]
        self,
        macro: MacroConfig,
        signed_input: bool = False,
        input_range: str = "batch",
        per_channel: bool = False,
        name: str = "",
        device: Any = None,
    ) -> None:
        super()._setup(signed_input, input_range, per_channel, name, device)
        self.adc_range: LearntRange | None
        self.register_module("adc_range", None)
        self.macro = macro

    @property
    def train_noise(self) -> float:
        """Noise while training, 0 or more, in the unit of its model: percent of each output for "proportional"."""
        return self._train_noise

    @train_noise.setter
    def train_noise(self, amount: float) -> None:
        check_number("`train_noise`", amount)
        self._train_noise = float(amount)
        self._has_train_noise = amount > 0.0  # a compiled graph depends only on this, and survives a ramp

    @property
    def train_noise_model(self) -> TrainingNoise:
        """Model of the noise while training; "proportional", "macro", "chip", an import path or an instance can be
        assigned."""
        return self._train_noise_model

    @train_noise_model.setter
    def train_noise_model(self, model: "str | TrainingNoise") -> None:
        self._train_noise_model = model if isinstance(model, TrainingNoise) else training_noise(model)

    @property
    def macro(self) -> MacroConfig:
        """The macro; assigning another one replaces the plan's macro and its rule for this layer."""
        return self.assignment.macro  # type: ignore[no-any-return]

    @macro.setter
    def macro(self, macro: MacroConfig) -> None:
        self.assignment = Assignment(macro)

    def check_assignment(self, assignment: Assignment) -> tuple[int, int]:
        """See `QuantizedLayer.check_assignment`."""
        macro = assignment.macro
        transfer(macro, self.signed_input, self.rows_in_use)
        return macro.weight_bits, macro.input_bits

    @property
    def transfer(self) -> Transfer:
        """Schedule and column of the macro for this layer's input."""
        return transfer(self.macro, self.signed_input, self.rows_in_use)

    @property
    def rows_in_use(self) -> int | None:
        """Most rows of a tile that hold weights, unless the macro has fewer rows; None: any number."""
        return None if self.held_shape is None else self.held_shape[1:].numel()

    def extra_repr(self) -> str:
        """Geometry, quantiser settings and the macro's main fields."""
        m = self.macro
        return f"{super().extra_repr()}, W{m.weight_bits}A{m.input_bits} rows={m.rows} adc_bits={m.adc_bits}"

    def engine_on(self, device: torch.device) -> str:
        """Name of the engine that simulates the macro on a device."""
        return self.engine or choose(self.transfer, device)

    def product_on(self, *inputs: Tensor) -> tuple[Product, Tensor, Tensor]:
        """The product that a call computes, and its operands before they are quantised; only their shapes matter."""
        x, w = self._called_with(*inputs)
        return self._product(x, self._held_weight(w))

    def conversions(self, *inputs: Tensor) -> int:
        """Conversions of the ADC that a simulated call makes, all samples, tiles, cycles and votes."""
        product, x, w = self.product_on(*inputs)
        return conversion_count(product, self.transfer, x, w)

    def _computed(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        noisy = self.fidelity == "estimated" and self._has_train_noise
        if not noisy and self.fidelity != "simulated":
            return super()._computed(x, w, bias)
        self._refuse_export("estimated with noise" if noisy else "simulated")
        return (self._estimated if noisy else self._simulated)(x, w, bias)

    @torch.compiler.disable
    def _simulated(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        operands = self._operands(x, w)
        noise = self.noise_of(len(x), x.device, lambda: operands.quantizer.integers(operands.x))
        return operands.run(self._program(operands, noise), bias, noise)

    @torch.compiler.disable
    def _estimated(self, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        found = self._operands(x, w)
        held, noise = found.weight.integers, self.noise_of(len(x), x.device, lambda: found.quantizer.integers(found.x))

        def operands() -> Operands:
            integers, step = found.quantizer.integers(found.x), along_channels(found.step, held)
            return Operands(
                found.product, self.transfer, integers, found.integers, step, noise, self.chip_of(noise.chip)
            )

        # a read has no step; its trial number gives each read other noise
        y = self._noisy(found.run(self._exact_program(found), None), replace(noise, step=noise.trial), operands)
        return y if bias is None else y + along_channels(bias.to(y.dtype), held)

    def noise_of(self, rows: int, device: torch.device, integers: Callable[[], Tensor]) -> Noise:
        """The noise of a call in the innermost `noise_context`, from the number of rows, or from their integers."""
        if self.by_row:
            return current_scope().source_of_rows(self.name, integers())
        return current_scope().source(self.name, rows, device)

    def _program(self, operands: LayerOperands, noise: Noise) -> Program:
        """The program that simulates the macro."""
        product, integers, circuit = operands.product, operands.integers, self.transfer
        device, found = noise.sample_ids.device, self.chip_of(noise.chip)
        engine = self.engine if self.tap is None else "reference"
        chip = found if circuit.differs_by_chip else replace(found, number=0, saved=None)

        def prepare(weights: Weights | None) -> Program:
            name = engine or choose(circuit, device)
            if engine and (why := refusals(circuit, device).get(name)):
                raise ValueError(f"Layer `{self.name}` cannot be computed by the engine {name}: {why}")
            held = None if weights is None else weights.on_chip(chip, product, circuit)
            program = ENGINES[name].prepare(product, circuit, held, chip)
            program.max_elements = self.max_elements
            return program

        macro = circuit, engine, chip, self.max_elements, device
        if self._keeps_weight:
            program = operands.weight.program(macro, product, integers, prepare)
        else:
            program = self._prepared.programs.of(macro, product, lambda: prepare(None))
            program = program.of(Weights(integers).on_chip(found, product, circuit))
        if self.tap is None or not isinstance(program, ReferenceProgram):
            return program
        return replace(program, tap=self.tap)

    @property
    def chip_part(self) -> str:
        """The layer's name in a chip's draws and files: its full name, or the name of the macros that it shares."""
        return f"macros {self.pool}" if self.macro.static.is_reused else self.name

    @property
    def without_rows(self) -> Tensor | None:
        """An input of no rows, of an expert that a router may send no row; None: the layer always has rows, or gets its
        weight with each call. # (0, *inputs)"""
        if not self.by_row or self.held_shape is None:
            return None
        layer: Any = self
        shape = (layer.in_features,) if len(self.held_shape) == 2 else (layer.in_channels, *layer.kernel_size)
        return layer.weight.new_zeros(0, *shape)  # type: ignore[no-any-return]

    @property
    def tiles(self) -> int:
        """Tiles that the weights of all groups take; 0 if weights come with each call."""
        if (shape := self.held_shape) is None:
            return 0
        groups = int(getattr(self, "groups", 1))
        product = MatmulProduct() if len(shape) == 2 else Conv2dProduct((1, 1), (0, 0), (1, 1), groups)
        return groups * len(product.geometry_of(shape).tiles(self.macro.rows))

    def chip_of(self, chip: int | SavedChip) -> Chip:
        """The layer's part of a chip; a chip from a file must fit the layer's macro."""
        found = replace(Chip.at(chip, self.chip_part), first_tile=self.first_tile)
        check_saved(found, self.transfer)
        return found

    def _refuse_export(self, state: str) -> None:
        if is_exported():
            raise ValueError(
                f"Layer `{self.name}` is {state}, and a macro cannot be exported or traced; export the quantised "
                'network: model.eval() and set_fidelity_(model, "quantized") first'
            )

    def _with_train_noise(self, y: Tensor, x: Tensor, w: Tensor, x_scale: Tensor, w_scale: Tensor) -> Tensor:
        if not self._has_train_noise and self.adc_range is None:
            return y
        self._refuse_export("trained with noise")
        return self._noisy_step(y, x, w, x_scale, w_scale)

    @torch.compiler.disable
    def _noisy_step(self, y: Tensor, x: Tensor, w: Tensor, x_scale: Tensor, w_scale: Tensor) -> Tensor:
        if torch._C._current_graph_task_id() != -1:  # the same test as in torch.utils.checkpoint
            raise ValueError(
                f"Layer `{self.name}` is trained with noise, and activation checkpointing would draw other noise in "
                "the backward pass; train without checkpointing, or with `train_noise` 0"
            )
        scope, given = current_scope(), (self.input_bits, self.signed_input)
        noise = self.noise_of(len(y), y.device, lambda: quantize(x.detach(), x_scale, *given))
        if scope.step is None:  # nobody counts steps, and each must draw other noise
            noise, self._steps = replace(noise, step=self._steps), self._steps + 1

        def operands() -> Operands:
            x_integers = quantize(x, x_scale, *given)
            w_integers = quantize(w, w_scale, self.weight_bits, True)
            product, x_operand, w_operand = self._product(x_integers, w_integers)
            step = self._step(along_channels(self._scale_with_gradient(x, w), w))
            return Operands(product, self.transfer, x_operand, w_operand, step, noise, self.chip_of(noise.chip))

        return self._noisy(y, noise, operands)

    def _scale_with_gradient(self, x: Tensor, w: Tensor) -> Tensor:
        """Scale of a product of integers, through which gradients reach the largest input and the largest weight."""
        x_scale = scale_with_gradient(x, self.signed_input)
        if self.per_channel:
            return x_scale * scale_of(w.abs().amax(dim=tuple(range(1, w.dim())), keepdim=True))
        return x_scale * scale_with_gradient(w, True)

    def _noisy(self, y: Tensor, noise: Noise, operands: Callable[[], Operands]) -> Tensor:
        def normal() -> Tensor:
            return noise.outputs(y.shape[1:].numel()).view(y.shape)

        model, amount = self.train_noise_model, self.train_noise
        if self.training and self.adc_range is not None:
            chip = model if isinstance(model, ChipNoise) and amount else ChipNoise(read_noise=False)
            return self.adc_range.apply_to(y, amount, chip, operands(), self.rows_in_use)
        return model.apply(y, amount, normal, operands)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        if self.adc_range is None:  # of a network that learnt its ranges: its plan has them
            for name in [each for each in state_dict if each.startswith(f"{prefix}adc_range.")]:
                del state_dict[name]
        super()._load_from_state_dict(state_dict, prefix, *args)
