"""The Lightning module: a timm network on a macro, trained and evaluated as an image classifier."""

from dataclasses import asdict, replace
from inspect import signature
from os import PathLike
from typing import IO, Any, get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric
from torchvision.transforms.v2 import MixUp

from asim_lightning import exchange
from asim_lightning.backbone import BackboneConfig, build_backbone, image_channels
from asim_lightning.classifier.arguments import check_settings, check_text, check_tokens, chip_of, image_size_of
from asim_lightning.classifier.batches import Batch, calibration_images_of, finite, step_seed, unpack
from asim_lightning.classifier.checkpoint_settings import settings_of
from asim_lightning.classifier.learnt_ranges import begin_adc_ranges_, fitted_starts, learnt_values, store_rules_
from asim_lightning.classifier.network import CimModule, ExponentialOfMean
from asim_lightning.classifier.optimizer import OptimizerConfig, build_optimizer, steps_of_an_epoch
from asim_lightning.classifier.outcome import TRAINING_LOSS, Outcome, right
from asim_lightning.classifier.processes import fitted_ranges, store_ranges
from asim_lightning.classifier.resumed_checkpoint import change_optimizer_, check_rewritten, forget_paths_elsewhere_
from asim_lightning.engine import noise_context
from asim_lightning.lightning_private import trainer_of
from asim_lightning.nn.inputs import Inputs, called, moved, random_inputs
from asim_lightning.nn.training_noise import ChipNoise, training_noise
from asim_lightning.safe_load import read_checkpoint
from asim_lightning.surgery import Plan, convert_, macro_layers, recount_, set_train_noise_
from asim_lightning.surgery.settings import set_max_elements_, store_adc_ranges_, train_adc_


class CimClassifier(CimModule):
    """An image classifier whose layers run on a simulated macro.

    Args:
        backbone: The network: timm's, or the user's.
        plan: Which layer gets which macro; `keep` with "*" leaves the network float.
        num_classes: Number of classes; a user's network gets it if it takes it.
        fidelity: Evaluation: float, quantized (integers, no macro), simulated (bit by bit), or estimated (quantized
            with the noise of training: the published quick estimate, which is logged as acc_estimate).
        optimizer: Optimizer and learning-rate schedule.
        train_noise: Noise of training, 0 or more, in the unit of its model.
        train_noise_model: proportional (percent of each output), macro (1 is the noise of the macro itself), chip (a
            chip in the loop) or the import path of a class that inherits `asim_lightning.nn.TrainingNoise`.
        train_noise_args: Arguments of the noise model's constructor.
        train_adc: Whether counts an LSB and the count of code 0 of each layer's ADC are trained, with the chip in the
            loop (`train_noise_model` chip). They start from `asim calibrate-adc`, and are rules in the checkpoint.
        label_smoothing: Label smoothing of the training loss: 0..1.
        mixup: Alpha of mixup, 0 or more; 0 is off.
        compile: Whether torch.compile compiles the training forward pass; state dict keys stay. With noise of training
            each layer is a separate graph, which gains less.
        noise_seed: Seed of all simulated noise: 0..2^32-1.
        trial: Number of the read that an evaluation simulates: 0..65535.
        chip: Number of the chip, which decides the static effects: 0..2^32-1.
        chip_file: A .safetensors file of a chip, written by asim chip, instead of a draw; null: chip `chip`.
        calibration_images: Training images that input ranges are fitted to; all if there are fewer.
        calibration_method: How ranges are fitted: max, percentile or mse.
        max_elements: Most counts that the reference engine holds at a time, which bounds its memory: 1 or more; null:
            2^20 on a CPU, 2^26 elsewhere. No result depends on it.
        outcome: The measured number, for which a fit also trains: accuracy, multilabel, segmentation (mean IoU),
            next_token, perplexity, loss, or the import path of your function of outputs and targets, or of an Outcome.

    Raises:
        ValueError: An argument is not allowed, or the plan does not fit the network.

    Examples:
        >>> from asim_lightning import CimClassifier
        >>> from asim_lightning.backbone import BackboneConfig
        >>> arguments = {"in_chans": 1, "stem_width": 4, "channels": [8, 8, 8, 8]}
        >>> CimClassifier(BackboneConfig("resnet10t", arguments, image_size=28), num_classes=10).report.summary
        '14 of 15 layers on a macro, 96.8 % of 164,972 MACs a sample'
    """

    plan: Plan

    def __init__(
        self,
        backbone: BackboneConfig = BackboneConfig(),
        plan: Plan = Plan(),
        num_classes: int = 10,
        fidelity: str = "simulated",
        optimizer: OptimizerConfig = OptimizerConfig(),
        train_noise: float = 0.0,
        train_noise_model: str = "proportional",
        train_noise_args: dict[str, Any] | None = None,
        train_adc: bool = False,
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        compile: bool = False,
        noise_seed: int = 0,
        trial: int = 0,
        chip: int = 0,
        chip_file: str | None = None,
        calibration_images: int = 512,
        calibration_method: str = "max",
        max_elements: int | None = None,
        outcome: str = "accuracy",
    ) -> None:
        settings = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        # from a checkpoint, they are mappings of their fields
        backbone = backbone if isinstance(backbone, BackboneConfig) else BackboneConfig(**backbone)
        optimizer = optimizer if isinstance(optimizer, OptimizerConfig) else OptimizerConfig(**optimizer)
        plan = plan if isinstance(plan, Plan) else Plan(**plan)
        # plain values, so that a checkpoint loads without running code; it brings its own weights
        settings |= {"optimizer": asdict(optimizer), "plan": asdict(plan)}
        settings["backbone"] = {**asdict(backbone), "pretrained": False, "weights": None}
        check_settings(settings)
        noise = training_noise(train_noise_model, train_noise_args)
        self.plan, self.outcome = plan, Outcome.of(outcome)
        self._classes = num_classes if self.outcome.number is right else None
        if self._classes is None and (mixup or label_smoothing):
            raise ValueError(f"`model.mixup` and `label_smoothing` need the outcome accuracy, got {self.outcome.name}")
        self.save_hyperparameters(settings)
        self.num_classes, self.label_smoothing, self.mixup = num_classes, label_smoothing, mixup
        self.optimizer_config, self.noise_seed, self.trial = optimizer, noise_seed, trial
        self.calibration_images, self.calibration_method = calibration_images, calibration_method
        self._image_size: int | None = None  # of the data, if no setting has it
        pretrained = exchange.read_pretrained(backbone) if backbone.pretrained else None
        self.backbone = build_backbone(backbone, num_classes)
        self.pretrained: tuple[str, ...] = ()
        if pretrained is not None:
            self.pretrained = exchange.load_pretrained_(self.backbone, backbone, num_classes, pretrained)
        if backbone.weights is not None:
            self.pretrained += (exchange.load_state_(self.backbone, backbone.weights),)
        check_tokens(self.backbone, settings["backbone"])
        report = convert_(self.backbone, plan, self.example)
        self.report = replace(report, notes=(*self.pretrained, *report.notes))
        self.chip = chip_of(self.backbone, chip, chip_file, noise)
        self.fidelity = fidelity
        set_train_noise_(self.backbone, train_noise, noise)
        if train_adc:
            if not isinstance(noise, ChipNoise):
                raise ValueError(f"`train_noise_model` must be chip with `train_adc`, got {train_noise_model}")
            train_adc_(self.backbone)
        set_max_elements_(self.backbone, max_elements)
        self._training_seed: int | None = None
        # in a tuple, so that the compiled network is no submodule with further keys
        self._compiled = (torch.compile(self.backbone),) if compile else ()
        # at most five classes would always be among the five likeliest
        self._top = (1,) if self._classes is None or num_classes <= 5 else (1, 5)
        kinds = ("loss", *(f"top{k}" for k in self._top))
        mean = ExponentialOfMean if self.outcome.shown_as == "exponential" else MeanMetric
        of_kind = {kind: MeanMetric if kind == "loss" else mean for kind in kinds}
        self.means = nn.ModuleDict({f"{stage}_{kind}": of_kind[kind]() for stage in ("val", "test") for kind in kinds})

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls,
        checkpoint_path: str | PathLike[str] | IO[bytes],
        map_location: Any = None,
        hparams_file: None = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """The classifier of a checkpoint, from a file that is read as tensors and plain values, never as code.

        Lightning's own reader takes settings from several keys of the file and instantiates the classes that they name.

        Args:
            checkpoint_path: The file, by its path or opened.
            map_location: Where its tensors go, as in torch.load; default: where they were, or the CPU.
            hparams_file: Must be left out, because settings are keyword arguments.
            strict: Whether the state dict must have every key of the network and no other; default: it must.
            weights_only: Must be left out or true.
            **kwargs: Arguments of the classifier, which override the arguments in the checkpoint.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is no checkpoint of a classifier, or its settings name a class by import path (a column
                model, a noise model) that the keyword arguments do not name too.
        """
        if hparams_file is not None or weights_only is False:
            raise ValueError(
                "load_from_checkpoint takes settings as keyword arguments and reads only tensors and plain values: "
                f"`hparams_file` must be None, `weights_only` True, got {hparams_file!r} and {weights_only!r}"
            )
        is_path = isinstance(checkpoint_path, (str, PathLike))
        path = checkpoint_path if is_path else getattr(checkpoint_path, "name", "the opened file")
        checkpoint = read_checkpoint(checkpoint_path, map_location or _where_it_was)
        state, own = checkpoint["state_dict"], checkpoint.get("hyper_parameters", {})
        if isinstance(own, dict):
            own = {name: value for name, value in own.items() if name not in kwargs}
        settings = settings_of(str(path), {"hyper_parameters": own}, cls.argument_types(), kwargs)
        try:
            model = cls(**settings, **kwargs)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"The settings in {path} do not fit: {error}") from error
        model.on_load_checkpoint(checkpoint)
        model.load_state_dict(state, strict=model.strict_loading if strict is None else strict)
        return model.to(next((each.device for each in state.values()), torch.device("cpu")))

    @classmethod
    def argument_types(cls) -> dict[str, Any]:
        """Types of the arguments that a checkpoint may hold, by name."""
        names = [name for each in (cls, CimClassifier) for name in signature(each).parameters]
        types = {**get_type_hints(CimClassifier.__init__), **get_type_hints(cls.__init__)}
        return {name: types.get(name, Any) for name in names}

    @property
    def train_noise(self) -> float:
        """Noise of training of every layer that is on a macro, in the unit of its model; a ramp changes it."""
        layers = macro_layers(self.backbone).values()
        return next((layer.train_noise for layer in layers), self.hparams["train_noise"])

    @train_noise.setter
    def train_noise(self, amount: float) -> None:
        set_train_noise_(self.backbone, amount)

    def forward(self, images: Inputs, /) -> Any:
        """The network's outputs, such as logits. # (batch, channels, height, width) to (batch, classes)"""
        compiled = self._compiled[0] if self.training and self._compiled else None
        return called(self.backbone, images, compiled)

    def setup(self, stage: str) -> None:
        """Check the data, as `check_data` does."""
        self.check_data(self._data)

    def check_data(self, data: Any) -> None:
        """Refuse data with other classes, channels, pixels or tokens than the network's; what data lacks passes."""
        check_text(self.backbone, self.hparams["backbone"], data)
        data_classes = getattr(data, "num_classes", self.num_classes)
        if data_classes != self.num_classes:
            raise ValueError(f"`model.num_classes` must be {data_classes}, as in the data, got {self.num_classes}")
        self.check_image_size(image_size_of(data))
        channels = getattr(data, "in_channels", self.in_channels)
        if self.in_channels is not None and channels != self.in_channels:  # None: the first layer is no convolution
            kind = f"{type(data).__module__.rpartition('.')[0]}.{type(data).__name__}"
            raise ValueError(
                f"`data` must have images of {self.in_channels} channels, as {self.hparams['backbone']['name']} takes "
                f"them, got {channels} of {kind}; --data asim_lightning.data.CIFAR10 names another"
            )

    def check_image_size(self, size: int | None) -> None:
        """Count multiplications and energy for images of `size` pixels a side, if no setting has their size.

        Raises:
            ValueError: The settings say another size, or the network does not take this one; None passes.
        """
        stated, shape = (self.hparams["backbone"][name] for name in ("image_size", "input_shape"))
        if stated is not None and size not in (None, stated):
            raise ValueError(
                f"`model.backbone.image_size` must be the size of the images, {size}, got {stated}; null takes it from "
                "the data (in Python, set model.hparams['backbone']['image_size'] to None)"
            )
        if size in (None, stated, self._image_size) or shape is not None:
            return
        self._image_size = size
        if (example := self.example) is not None:
            found = recount_(self.backbone, moved(example, next(self.backbone.parameters()).device))
            self.report = replace(self.report, rows=found.rows)

    @property
    def takes_images(self) -> bool:
        """Whether inputs are images, as those of a timm network are."""
        shape = self.hparams["backbone"]["input_shape"]
        return shape is None or (isinstance(shape, list) and len(shape) == 3 and isinstance(shape[0], int))

    @property
    def in_channels(self) -> int | None:
        """Channels of an image that the network takes; None if they are not known."""
        return image_channels(BackboneConfig(**self.hparams["backbone"]), self.backbone)

    @property
    def example(self) -> Inputs | None:  # type: ignore[override]
        """A random input of the size in the settings, else of the data; None: neither is known."""
        shape, values = (self.hparams["backbone"][name] for name in ("input_shape", "input_values"))
        size = self.hparams["backbone"]["image_size"] or self._image_size
        generator = torch.Generator().manual_seed(0)
        if shape is not None:
            return random_inputs(shape, values, generator)
        if size is None or (channels := self.in_channels) is None:
            return None
        # half of the values negative, as in normalised images
        return torch.randn(1, channels, size, size, generator=generator)

    def on_fit_start(self) -> None:
        """Store the seed of the random numbers of each step."""
        if self._training_seed is None:
            self._training_seed = torch.initial_seed()
        if self.hparams["train_adc"]:
            self.fit_missing_ranges()
            images = calibration_images_of(self._data or self.trainer, self.calibration_images)
            begin_adc_ranges_(self, self.trainer.strategy.broadcast(fitted_starts(self, images)))

    def on_train_end(self) -> None:
        """Give macros the ranges of the last step, or the averages that a callback has put into the network."""
        store_adc_ranges_(self.backbone)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the training seed, and learnt ranges of ADCs as rules of the plan."""
        checkpoint["training_seed"] = self._training_seed
        if self.hparams["train_adc"]:
            store_rules_(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the training seed; for a fit, adapt the state to changed optimizer settings and to this machine."""
        check_rewritten(checkpoint, self.plan)
        self._training_seed = checkpoint.get("training_seed")
        if trainer_of(self) is not None and self.trainer.state.fn == "fit":
            folders = [getattr(each, "dirpath", None) for each in self.trainer.checkpoint_callbacks]
            forget_paths_elsewhere_(checkpoint, [str(each) for each in folders if each])
            change_optimizer_(checkpoint, self.hparams["optimizer"])

    def training_step(self, batch: Batch, batch_number: int) -> Tensor:
        """The outcome's loss of a batch under fake quantisation and the noise of training."""
        images, labels, ids = unpack(batch, self._classes)
        # a batch's random numbers depend on seed, step, batch and process, so that a resumed run repeats them
        torch.manual_seed(step_seed(self._training_seed or 0, self.global_step, batch_number, self.global_rank))
        targets: Tensor = labels
        if self.mixup:
            images, targets = MixUp(alpha=self.mixup, num_classes=self.num_classes)(images, labels)
        with noise_context(self.noise_seed, 0, ids, self.chip, step=self.global_step):
            logits = self.outcome.read(self(images))
        if self.label_smoothing:
            loss = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing)
        else:
            loss = self.outcome.mean_loss(logits, targets)
        self.log(TRAINING_LOSS, finite(loss, self.global_step, self.optimizer_config.lr), prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Fit input ranges: again while training, because weights change; otherwise only missing ranges."""
        if self.trainer.state.fn == "fit":
            store_adc_ranges_(self.backbone)
            self.log_dict(learnt_values(self))
        self.fit_missing_ranges(always=self.trainer.state.fn == "fit")
        self._fitted_ranges = fitted_ranges(self.backbone)  # perhaps by a RangeCalibration, which was called before

    def on_validation_epoch_end(self) -> None:
        """Restore the fitted ranges, because a callback that averages weights may have put back a network without."""
        store_ranges(self.backbone, self._fitted_ranges)

    def validation_step(self, batch: Batch, batch_number: int) -> dict[str, Tensor]:
        """Accuracy and loss of a batch; returns indices, labels, predictions and confidences."""
        return self._evaluate(batch, "val")

    def on_test_epoch_start(self) -> None:
        """Fit missing input ranges."""
        self.fit_missing_ranges()

    on_predict_epoch_start = on_test_epoch_start

    def test_step(self, batch: Batch, batch_number: int) -> dict[str, Tensor]:
        """See `validation_step`."""
        return self._evaluate(batch, "test")

    def predict_step(self, batch: Batch, batch_number: int) -> dict[str, Tensor]:
        """Index, label, prediction and confidence of each sample, for the outcome accuracy. # (batch,) each"""
        if self._classes is None:
            raise ValueError(f"Predictions need one label a sample, got the outcome {self.outcome.name}")
        return _predictions(*self.answered(batch))

    def configure_optimizers(self) -> Any:
        """The configured optimizer and schedule."""
        steps = int(self.trainer.estimated_stepping_batches)
        epochs = max(1, round(steps / steps_of_an_epoch(self.trainer)))  # also if the trainer counts steps
        optimizer, schedule, interval = build_optimizer(self.optimizer_config, self.parameters(), epochs, steps)
        if schedule is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": interval}}

    def _evaluate(self, batch: Batch, stage: str) -> dict[str, Tensor]:
        logits, labels, ids = self.answered(batch)
        numbers = self.outcome.numbers(logits, labels) if self._classes is None else {}
        weight = numbers.get("weight")  # counted tokens, (batch,)
        of_batch = len(ids) if weight is None else weight.sum()
        self._log_mean(f"{stage}/loss", f"{stage}_loss", self.outcome.mean_loss(logits, labels), of_batch, False)
        if numbers:
            found = {"index": ids, **{name: each for name, each in numbers.items() if name != "prediction"}}
            values = [found["value"]]
        else:
            found = _predictions(logits, labels, ids)
            among = (logits.topk(k).indices == labels[:, None] for k in self._top[1:])  # (batch, k) each
            values = [logits.argmax(dim=1) == labels, *(each.any(dim=1) for each in among)]
        for k, each in zip(self._top, values, strict=True):
            name = self.outcome.logged_as(stage, self.fidelity == "estimated", k)
            if name != f"{stage}/loss":
                self._log_mean(name, f"{stage}_top{k}", each.float(), weight, k == 1)
        return found

    def _log_mean(self, name: str, metric: str, values: Tensor, weight: Tensor | int | None, prog_bar: bool) -> None:
        """Log a mean by a metric, because Lightning's sync_dist is wrong if processes have unequal shares."""
        (mean := self.means[metric])(values, weight=weight)
        self.log(name, mean, on_epoch=True, prog_bar=prog_bar, batch_size=1)  # type: ignore[arg-type]  # the metric weighs


def _predictions(logits: Tensor, labels: Tensor, ids: Tensor) -> dict[str, Tensor]:
    confidence, prediction = logits.softmax(dim=-1).max(dim=-1)
    return {"index": ids, "label": labels, "prediction": prediction, "confidence": confidence}


def _where_it_was(storage: Any, location: str) -> Any:
    """torch.load's map_location: the device that a tensor was saved from, or the CPU if there is no such device."""
    device = location.partition(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return None if there.get(device, False) else storage.cpu()
