"""Evaluation of a network with converted layers: fidelity, read, chip, input ranges, and a number a sample."""

from collections.abc import Iterable
from typing import Any

from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric

from asim_lightning.classifier.batches import calibration_images_of, unpack
from asim_lightning.classifier.outcome import Outcome
from asim_lightning.classifier.processes import synchronize_ranges
from asim_lightning.engine import SavedChip, noise_context
from asim_lightning.nn.calibration import calibrate_, needs_calibration
from asim_lightning.nn.inputs import Inputs, called, moved
from asim_lightning.surgery import ConversionReport, report_of, set_fidelity_


class ExponentialOfMean(MeanMetric):
    """The exponential of a mean, such as the perplexity of mean negative log-likelihoods."""

    def compute(self) -> Tensor:
        """The exponential of the mean over all processes."""
        return super().compute().exp()


class CimModule(LightningModule):
    """A network for evaluation under conditions; a subclass sets these attributes.

    Attributes:
        backbone: The network with converted layers.
        report: Report of its conversion.
        outcome: The number that is measured for a sample.
        noise_seed: Seed of all simulated noise.
        trial: Number of the read that an evaluation simulates.
        chip: Number of the chip, or a chip from a file.
        calibrates_itself: Whether it fits input ranges; a callback that fits them sets it to False.
        calibration_images: Training images that input ranges are fitted to.
        calibration_method: How ranges are fitted: max, percentile or mse.
        example: Inputs of the network, for the sizes of its products; None if its own size is taken.
    """

    backbone: nn.Module
    report: ConversionReport
    outcome = Outcome()
    noise_seed: int
    trial: int
    chip: int | SavedChip
    calibrates_itself: bool = True
    calibration_images: int = 512
    calibration_method: str = "max"
    example: Inputs | None = None
    _fidelity = "simulated"
    _classes: int | None = None  # labels are 0 to below this, if they are checked

    @property
    def fidelity(self) -> str:
        """Fidelity of every layer in evaluation."""
        return self._fidelity

    @fidelity.setter
    def fidelity(self, fidelity: str) -> None:
        set_fidelity_(self.backbone, fidelity)
        self._fidelity = fidelity

    @property
    def takes_images(self) -> bool:
        """Whether inputs are images, (batch, channels, height, width); texts call other inputs samples."""
        return isinstance(self.example, Tensor) and self.example.dim() == 4

    def check_data(self, data: Any) -> None:
        """Check that data fits the network; a subclass knows what it takes."""

    def outcomes(self, batch: Any, batch_number: int) -> dict[str, Tensor]:
        """Index, value and, if there is one, prediction of each sample. # (batch,) each"""
        outputs, targets, ids = self.answered(batch)
        return {"index": ids, **self.outcome.numbers(outputs, targets)}

    def answered(self, batch: Any) -> tuple[Any, Any, Tensor]:
        """Outputs of a batch in evaluation as the outcome reads them, its targets, and the index of each sample."""
        inputs, targets, ids = unpack(batch, self._classes)
        self.outcome.check(inputs, targets)
        with noise_context(self.noise_seed, self.trial, ids, self.chip):
            return self.outcome.read(self(inputs)), targets, ids

    def calibrate(self, images: Iterable[Inputs], missing: bool = False) -> None:
        """Fit and store the range of every layer with a calibrated range; with `missing` only of layers without one."""
        calibrate_(self, ((moved(batch, self.device),) for batch in images), self.calibration_method, missing)

    def fit_missing_ranges(self, always: bool = False) -> None:
        """Fit input ranges to the trainer's training images if a layer has none; with `always`, of all layers. If a
        RangeCalibration fits them, this does nothing."""
        if self.calibrates_itself and (always or needs_calibration(self.backbone)):
            self.calibrate(calibration_images_of(self._data or self.trainer, self.calibration_images), not always)
            synchronize_ranges(self.backbone, self.calibration_method)

    def calibrate_where_missing(self, data: Any) -> None:
        """Fit input ranges to training images of a data module, if a layer that needs one has none."""
        if needs_calibration(self.backbone):
            self.calibrate(calibration_images_of(data, self.calibration_images), missing=True)

    @property
    def _data(self) -> Any:
        return getattr(self.trainer, "datamodule", None)


def evaluated(module: LightningModule) -> CimModule:
    """A module for evaluation under conditions: the module itself, or a `GivenNetwork` of a user's converted module.

    The module's attribute `outcome` is like `model.outcome` of a recipe; default: accuracy.
    """
    if isinstance(module, CimModule):
        return module
    return GivenNetwork(module, Outcome.of(getattr(module, "outcome", "accuracy")))


class GivenNetwork(CimModule):
    """A user's network that `convert_` has converted as a whole or in part, and inputs of it. # (1, ...) each"""

    def __init__(self, network: nn.Module, outcome: Outcome = Outcome(), example: Inputs | None = None) -> None:
        super().__init__()
        self.backbone, self.outcome, self.example = network, outcome, example
        self.report = report_of(network)
        self.noise_seed, self.trial, self.chip = 0, 0, 0
        device = next((each.device for each in network.parameters()), None)
        if device is not None:
            self.to(device)

    def forward(self, inputs: Any, /) -> Any:
        """The network's outputs."""
        return called(self.backbone, inputs)

    def test_step(self, batch: Any, batch_number: int) -> dict[str, Tensor]:
        """Index and value of each sample of a batch, for Lightning's test."""
        return self.outcomes(batch, batch_number)
