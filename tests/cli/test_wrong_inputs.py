"""Whatever the user gets wrong, the answer is one line that says what is allowed, and exit code 2."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Asim, Run

Write = Callable[..., Path]

MACRO = {
    "above the range": (("--model.plan.macro.adc_bits", "77"), "`macro.adc_bits` must be 1..16 or null, got 77"),
    "no number": (("--model.plan.macro.adc_bits", "abc"), "`model.plan.macro.adc_bits` must be an integer or null"),
    "unknown unit": (("--model.plan.macro.random_noise", "0.5 volt"), "a unit of %, lsb, mV, got '0.5 volt'"),
    "unknown choice": (("--model.plan.macro.vote", "max"), "must be one of mode, median, mean, got 'max'"),
    "no boolean": (("--model.plan.macro.weight_parallel", "maybe"), "must be true or false, got maybe"),
    "unknown column": (("--model.plan.macro.column", "os.system"), "charge, current or an import path"),
    "contradiction": (("--model.plan.macro.encoding_bits", "9"), "1..4 (input_bits), got 9"),
    "typo in a mapping": (("--model.plan.macro", "{adc_bit: 3}"), "nearest: model.plan.macro.adc_bits"),
    "typo in a flag": (("--model.plan.macro.adc_bit", "3"), "nearest: --model.plan.macro.adc_bits"),
    "null plan": (("--model.plan", "null"), "`model.plan` must be a mapping, or a YAML file of one, got null"),
}

PLAN = {
    "rule for no layer": ("rules", [{"match": "layer9.*", "macro": {"rows": 9}}], "nearest: layer4.0.conv2"),
    "rule with a typo": ("rules", [{"match": "fc", "macro": {"adc_bit": 3}}], "nearest: adc_bits, encoding_bits"),
    "rule with a value": ("rules", [{"match": "fc", "macro": {"adc_bits": 77}}], "must be 1..16 or null, got 77"),
    "rule with a key": ("rules", [{"matches": "fc"}], "`model.plan.rules.init_args.matches` is no setting; nearest"),
    "rule expression": ("rules", [{"match": "re:(", "macro": {"rows": 9}}], "has an invalid regular expression 're:('"),
    "rule of no list": ("rules", {"match": "fc"}, "`model.plan.rules` must be a list"),
    "keep of no layer": ("keep", ["nosuch"], "`plan.keep` matches no layer with 'nosuch'; nearest: "),
    "keep of no list": ("keep", "fc", "`model.plan.keep` must be a list"),
    "stem": ("stem", "digital", "`plan.stem` must be one of published, quantized, float, macro, got 'digital'"),
}

KEYS = {
    "flag in a group": (("--model.fidelty", "float"), "`--model.fidelty` is no setting; nearest: --model.fidelity"),
    "flag of the trainer": (("--trainer.max_epoch", "3"), "nearest: --trainer.max_epochs"),
    "group": (("--modl.fidelity", "float"), "nearest: --model"),
    "flag with =": (("--confg=tiny.yaml",), "`--confg` is no setting; nearest: --config"),
    "data": (("--data.init_args.test_image", "3"), "nearest: data.init_args.test_images"),
    "other command's": (("--samples", "3"), "`--samples` is no setting; there are config, seed_everything, trainer"),
    "no flag": (("extra",), "'extra' is no option: options look like --model.fidelity float"),
    "no value": (("--model.fidelity",), "argument --model.fidelity: expected one argument"),
    "wrong trainer value": (("--trainer.max_epochs", "x"), "`trainer.max_epochs` must be an integer or null, got x"),
    "code from a checkpoint": (("--weights_only", "false"), "`weights_only` must be true"),
}

MODEL = {
    "classes": (("--model.num_classes", "7"), "`model.num_classes` must be 10, as in the data, got 7"),
    "one class": (("--model.num_classes", "1"), "`model.num_classes` must be 2 or more, got 1"),
    "classes, a text": (("--model.num_classes", "x"), "`model.num_classes` must be an integer, got x"),
    "channels": (
        ("--model.backbone.kwargs", "{channels: [8, 16, 32, 64]}"),
        "`data` must have images of 3 channels, as resnet10t",
    ),
    "network": (("--model.backbone.name", "resnet19t"), "nearest: resnet14t, resnet10t"),
    "network argument": (("--model.backbone.kwargs", "{foo: 3}"), "unexpected keyword argument 'foo'"),
    "fidelity": (("--model.fidelity", "exact"), "must be one of float, quantized, estimated, simulated, got 'exact'"),
    "seed": (("--model.noise_seed", "-1"), "`model.noise_seed` must be 0..4294967295, got -1"),
    "trial": (("--model.trial", "70000"), "`model.trial` must be 0..65535, got 70000"),
    "method": (("--model.calibration_method", "most"), "one of max, percentile, mse, got 'most'"),
    "optimizer": (("--model.optimizer.name", "lion"), "must be one of sgd, adam, adamw, got 'lion'"),
    "learning rate": (("--model.optimizer.lr", "-1"), "`model.optimizer.lr` must be above 0, got -1.0"),
}

DATA = {
    "missing folder": (("--data.init_args.root", "nosuch"), "The Fashion-MNIST folder nosuch does not exist"),
    "empty folder": (("--data.init_args.root", "."), "lacks t10k-images-idx3-ubyte[.gz]"),
    "too many images": (("--data.init_args.test_images", "99999"), "test_images must be 1 to 2000"),
    "no images": (("--data.init_args.test_images", "0"), "test_images must be at least 1, got 0"),
    "held out": (("--data.init_args.held_out", "7"), "a positive multiple of the 10 classes, got 7"),
    "no such module": (("--data", "nosuch.Module"), "a LightningDataModule (by its import path)"),
    "no data module": (("--data", "asim_lightning.MacroConfig"), "a LightningDataModule (by its import path)"),
}

AXES = {
    "unknown field": (("--axes.adc_bit", "[6]"), "`--axes.adc_bit` is no setting; nearest: --axes.adc_bits"),
    "nothing like it": (("--axes.zzz", "[6]"), "--axes has weight_bits, input_bits, rows, adc_bits"),
    "empty": (("--axes.adc_bits", "[]"), "`axes.adc_bits` must be a list of one or more values, got []"),
    "no list": (("--axes.adc_bits", "6"), "`axes.adc_bits` must be a list of integers or null, got 6"),
    "wrong type": (("--axes.adc_bits", "[a]"), "`axes.adc_bits` must be a list of integers or null, got ['a']"),
    "wrong value": (
        ("--axes.adc_bits", "[8, 99]"),
        "must be 1..16 or null, got 99, at the point adc_bits 99 of `axes`",
    ),
    "wrong unit": (("--axes.random_noise", "[0.5 volt]"), "with a unit of %, lsb, mV, got '0.5 volt'"),
    "wrong combination": (("--axes", "{input_bits: [2, 4], encoding_bits: [4]}"), "1..2 (input_bits), got 4"),
    "no trial": (("--trials", "0"), "`trials` must be 1..65535, got 0"),
}

COMMANDS = {
    "typo": (("fitt", "-c", "tiny.yaml"), "got 'fitt'; nearest: fit"),
    "unknown": (("publish",), "asim has the commands fit, validate, test, predict, sweep, bench, explain, verify"),
    "none": ((), "asim needs a command first"),
    "after its options": (("-c", "tiny.yaml", "fit"), "Options come after the command, as in asim fit -c CONFIG"),
    "config without a name": (("fit", "-c"), "argument -c/--config: expected one argument"),
    "missing config": (("fit", "-c", "nosuch.yaml"), "There is no file 'nosuch.yaml'; shipped configs, nearest: "),
    "config with a typo": (("fit", "-c", "quickstar"), "nearest: quickstart"),
}

FILES = {
    "not YAML": (b"a: [1, 2\nb: }\n", "bad.yaml, line 2, is not YAML: expected ',' or ']'"),
    "a list": (b"- 1\n- 2\n", "bad.yaml must hold a mapping of settings, got a list"),
    "a text": (b"hello", "bad.yaml must hold a mapping of settings, got a str"),
    "bytes": (bytes(range(256)), "bad.yaml must be a YAML file, got one that is no text"),
    "empty": (b"", "bad.yaml must hold a mapping of settings, got nothing"),
    "unknown key": (b"modell: {fidelity: float}", "`modell.fidelity` is no setting; nearest: model"),
    "unknown key in a group": (b"trainer: {max_epoch: 3}", "nearest: trainer.max_epochs"),
    "unknown key of the data": (b"data: {init_args: {batchsize: 3}}", "nearest: data.init_args.batch_size"),
    "null plan": (b"model: {plan: null}", "`model.plan` must be a mapping, such as {keep: ['*']} for a float network"),
}


FLAGS = {
    f"{group}: {name}": case
    for group, cases in {"macro": MACRO, "key": KEYS, "model": MODEL, "data": DATA}.items()
    for name, case in cases.items()
}


@pytest.mark.parametrize("case", FLAGS.values(), ids=FLAGS)
def test_flags(case: tuple[tuple[str, ...], str], asim: Asim, written: Write) -> None:
    arguments, expected = case
    assert expected in asim("validate", "-c", written(), *arguments).error


@pytest.mark.parametrize("case", PLAN.values(), ids=PLAN)
def test_plan_in_yaml(case: tuple[str, object, str], asim: Asim, written: Write) -> None:
    field, value, expected = case
    path = written(**{f"model__plan__{field}": value})
    assert expected in asim("validate", "-c", path).error


@pytest.mark.parametrize("case", AXES.values(), ids=AXES)
def test_axes(case: tuple[tuple[str, ...], str], asim: Asim, run: Run) -> None:
    arguments, expected = case
    assert expected in asim("sweep", "-c", run.config, "--ckpt_path", run.checkpoint, *arguments).error
    assert not Path("runs").exists()  # refused before anything is computed


@pytest.mark.parametrize("case", COMMANDS.values(), ids=COMMANDS)
def test_commands_and_config_names(case: tuple[tuple[str, ...], str], asim: Asim, written: Write) -> None:
    written()
    arguments, expected = case
    assert expected in asim(*arguments).error


@pytest.mark.parametrize("case", FILES.values(), ids=FILES)
def test_config_files(case: tuple[bytes, str], asim: Asim, folder: Path) -> None:
    content, expected = case
    (folder / "bad.yaml").write_bytes(content)
    assert expected in asim("validate", "-c", "bad.yaml").error


def test_image_size_that_a_transformer_does_not_take(asim: Asim, written: Write) -> None:
    backbone = "{name: vit_tiny_patch16_224, kwargs: {in_chans: 1, depth: 1}, small: false, image_size: null}"
    error = asim("validate", "-c", written(), "--model.backbone", backbone).error
    assert error.startswith("The network does not take images of (1, 28, 28)")


def test_damaged_data_files(asim: Asim, written: Write, folder: Path) -> None:
    for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
        (folder / name).write_bytes(b"junk")
    error = asim("validate", "-c", written(), "--data.init_args.root", ".").error
    assert "must be an IDX file of unsigned bytes" in error


def test_a_float_network_has_nothing_to_sweep_or_verify(asim: Asim, written: Write) -> None:
    path = written(model__plan={"keep": ["*"]})
    for command in ("sweep", "verify"):
        assert "layers on a macro, got one without; set `model.plan`" in asim(command, "-c", path).error


def test_jsonargparse_debug_gives_the_traceback(asim: Asim, written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEBUG", "true")
    with pytest.raises(ValueError, match=r"macro\.adc_bits"):
        asim("validate", "-c", written(), "--model.plan.macro.adc_bits", "77")
