"""`asim verify`: whether all engines agree on the network's own layers and inputs, code by code."""

from dataclasses import dataclass

from asim_lightning.checks import check_whole
from asim_lightning.cli.start import Setup, prepare
from asim_lightning.evaluation.layer_inputs import layer_inputs, needed_layers
from asim_lightning.nn.verify import verify as verify_layer


@dataclass(frozen=True)
class VerifyOptions:
    """What engines are compared on."""

    samples: int = 2
    """Test images: 1 or more; all of the first batch if it has fewer."""


def verify(setup: Setup, options: VerifyOptions = VerifyOptions()) -> None:
    """Compare all engines on the network's own layers and inputs, code by code.

    Raises:
        ValueError: No layer is on a macro, or there is no sample.
        SystemExit: With code 1, if a layer's engines differ.
    """
    prepare(setup.trainer, setup.model, setup.data)
    needed_layers(setup.model, "asim verify")
    check_whole("`samples`", options.samples, 1)
    images = next(iter(setup.data.test_dataloader()))[0][: options.samples]
    inputs = layer_inputs(setup.model, images)
    found = [
        verify_layer(layer, *inputs[layer], max_samples=options.samples, chip=setup.model.chip) for layer in inputs
    ]
    for verification in found:
        print(f"{verification}\n")
    good, used = sum(verification.ok for verification in found), len(images)
    fewer = f", all of the first batch (--samples {options.samples})" if used < options.samples else ""
    print(f"{good} of {len(found)} layers agree on {used} test image{'s' if used > 1 else ''}{fewer}")
    if good < len(found):
        raise SystemExit(1)
