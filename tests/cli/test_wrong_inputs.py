"""Whatever the user gets wrong, the answer is one line that says what is allowed, and exit code 2."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import Asim, Run
from tests.cli.wrong_inputs import FIT, SWEEP, VALIDATE, Wrong, assert_refused, flag, recipe

Write = Callable[..., Path]

MACRO = {
    "above the range": (("--model.plan.macro.adc_bits", "77"), "`macro.adc_bits` must be 1..16 or null, got 77"),
    "no number": (("--model.plan.macro.adc_bits", "abc"), "`model.plan.macro.adc_bits` must be int or null, got abc"),
    "unknown unit": (("--model.plan.macro.random_noise", "0.5 volt"), "a unit of %, lsb, mV, got '0.5 volt'"),
    "unknown choice": (("--model.plan.macro.vote", "max"), "must be one of mode, median, mean, got 'max'"),
    "no boolean": (("--model.plan.macro.weight_parallel", "maybe"), "`model.plan.macro.weight_parallel` must be bool,"),
    "unknown column": (("--model.plan.macro.column", "os.system"), "charge, current, measured or an import path"),
    "contradiction": (("--model.plan.macro.encoding_bits", "9"), "1..4 (input_bits), got 9"),
    "typo in a mapping": (("--model.plan.macro", "{adc_bit: 3}"), "nearest: model.plan.macro.adc_bits"),
    "typo in a flag": (("--model.plan.macro.adc_bit", "3"), "`model.plan.macro.adc_bit` is no setting; nearest: model"),
    "noise that is no number": (("--model.plan.macro.random_noise", ".nan"), "must be 0..100 % of full scale, got nan"),
    "noise without end": (("--model.plan.macro.random_noise", "1e400"), "must be 0..100 % of full scale, got inf"),
    "infinite LSB": (("--model.plan.macro.random_noise", "inf lsb"), "a unit of %, lsb, mV, got 'inf lsb'"),
    "no noise given": (("--model.plan.macro.random_noise", ""), "a unit of %, lsb, mV, got ''"),
    "many rows": (("--model.plan.macro.rows", "9" * 30), f"`macro.rows` must be 1..1048576, got {'9' * 30}"),
    "module as column": (("--model.plan.macro.column", "os"), "import path such as package.module.Class, got 'os'"),
    "function as column": (("--model.plan.macro.column", "os.getcwd"), "'os.getcwd', which does not inherit Column"),
    "abstract column": (("--model.plan.macro.column", "abc.ABC"), "'abc.ABC', which does not inherit Column"),
    "step of no counts": (("--model.plan.macro.adc_step", "0"), "`macro.adc_step` must be 1..1048576 or null, got 0"),
    "step that is no whole number": (("--model.plan.macro.adc_step", "1.5"), "`model.plan.macro.adc_step` must be int"),
    "low without a step": (("--model.plan.macro.adc_low", "3"), "must be 0 where `macro.adc_step` is null, got 3"),
    "low below 0": (
        ("--model.plan.macro.adc_step", "1", "--model.plan.macro.adc_low", "-1"),
        "`macro.adc_low` must be 0..1048576, got -1",
    ),
    "step of an ideal converter": (
        ("--model.plan.macro.adc_step", "1", "--model.plan.macro.adc_bits", "null"),
        "`macro.adc_step` must be null for an ideal converter (adc_bits null), got 1",
    ),
    "step with digital_adc": (
        ("--model.plan.macro.adc_step", "1", "--model.plan.macro.digital_adc", "true"),
        "`macro.adc_step` must be null with digital_adc, got 1",
    ),
    "low with weight_parallel": (
        ("--model.plan.macro", "{adc_step: 9, adc_low: 2, weight_parallel: true}"),
        "`macro.adc_low` must be 0 with weight_parallel, got 2",
    ),
    "noise of many LSB of a step": (
        ("--model.plan.macro", "{adc_step: 90, random_noise: 3 lsb}"),
        "`macro.random_noise` must be 0..100 % of full scale, got '3 lsb'",
    ),
    "null plan": (("--model.plan", "null"), "`model.plan` must be a mapping of settings, or a YAML file of one, got n"),
}

PLAN = {
    "rule for no layer": ("rules", [{"match": "layer9.*", "macro": {"rows": 9}}], "nearest: layer4.0.conv2"),
    "rule with a typo": ("rules", [{"match": "fc", "macro": {"adc_bit": 3}}], "nearest: adc_bits, adc_step"),
    "rule with a value": ("rules", [{"match": "fc", "macro": {"adc_bits": 77}}], "must be 1..16 or null, got 77"),
    "rule with a key": (
        "rules",
        [{"matches": "fc"}],
        "`model.plan.rules.matches` is no setting; nearest: model.plan.rules.match",
    ),
    "rule with a field": (
        "rules",
        [{"match": "fc", "adc_bits": 10}],
        "`model.plan.rules.adc_bits` is no setting; nearest: model.plan.rules.match, model.plan.rules.macro",
    ),
    "rule with a field, misspelt": (
        "rules",
        [{"match": "fc", "adcbits": 10}],
        "rules.adcbits` is no setting; nearest",
    ),
    "rule with a fidelity": (
        "rules",
        [{"match": "fc", "fidelity": "float"}],
        "`model.plan.rules.fidelity` is no setting",
    ),
    "rule, a text": ("rules", ["fc"], "or a mapping of its settings, got fc"),
    "rule, a number": ("rules", [3], "`model.plan.rules` must have mappings of settings, got 3"),
    "rule expression": ("rules", [{"match": "re:(", "macro": {"rows": 9}}], "has an invalid regular expression 're:('"),
    "rule of no list": ("rules", {"match": "fc"}, "`model.plan.rules` must be list"),
    "keep of no layer": ("keep", ["nosuch"], "`plan.keep` matches no layer with 'nosuch'; nearest: "),
    "keep of no list": ("keep", "fc", "`model.plan.keep` must be list"),
    "stem": ("stem", "digital", "`plan.stem` must be one of published, quantized, float, macro, got 'digital'"),
}

KEYS = {
    "flag in a group": (("--model.fidelty", "float"), "`model.fidelty` is no setting; nearest: model.fidelity"),
    "flag of the trainer": (("--trainer.max_epoch", "3"), "`trainer.max_epoch` is no setting; nearest: trainer.max_ep"),
    "group": (("--modl.fidelity", "float"), "`modl.fidelity` is no setting; nearest: model.fidelity"),
    "flag with =": (("--confg=tiny.yaml",), "`confg` is no setting; nearest: config"),
    "data": (("--data.init_args.test_image", "3"), "nearest: data.init_args.test_images"),
    "other command's": (("--samples", "3"), "`samples` is no setting"),
    "no flag": (("extra",), "unrecognized arguments: extra"),
    "no value": (("--model.fidelity",), "argument --model.fidelity: expected one argument"),
    "wrong trainer value": (("--trainer.max_epochs", "x"), "`trainer.max_epochs` must be int or null, got x"),
    "code from a checkpoint": (("--weights_only", "false"), "`weights_only` must be true"),
}

MODEL = {
    "classes": (("--model.num_classes", "7"), "`model.num_classes` must be 10, as in the data, got 7"),
    "one class": (("--model.num_classes", "1"), "`model.num_classes` must be 2 or more, got 1"),
    "twice": (
        ("--model.fidelity", "float", "--model.fidelity", "no"),
        "quantized, estimated, simulated, got 'no'",
    ),
    "no fidelity": (("--model.fidelity", ""), "float, quantized, estimated, simulated, got ''"),
    "letters of other languages": (("--model.backbone.name", "größe"), "must be a network of timm, got 'größe'"),
    "rate that is no number": (("--model.optimizer.lr", ".nan"), "`model.optimizer.lr` must be above 0, got nan"),
    "rate without end": (("--model.optimizer.lr", "1e400"), "`model.optimizer.lr` must be above 0, got inf"),
    "classes, a text": (("--model.num_classes", "x"), "`model.num_classes` must be int, got x"),
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
    "no such module": (("--data", "nosuch.Module"), "`data` cannot be nosuch.Module"),
    "near a module": (
        ("--data", "CIFAR11"),
        "`data` must be a class by its import path, such as package.module.Class, or ",
    ),
    "near a module's path": (
        ("--data", "asim_lightning.data.ImageNett"),
        "`data` cannot be asim_lightning.data.ImageNett; nearest: ImageNet",
    ),
    "no data module": (("--data", "asim_lightning.MacroConfig"), "`data` cannot be asim_lightning.MacroConfig"),
}

AXES = {
    "unknown field": (("--axes.adc_bit", "[6]"), "`axes.adc_bit` is no setting; nearest: axes.adc_bits, axes.adc_step"),
    "nothing like it": (("--axes.zzz", "[6]"), "`axes.zzz` is no setting"),
    "empty": (("--axes.adc_bits", "[]"), "`axes.adc_bits` must be a list of one or more values, got []"),
    "no list": (("--axes.adc_bits", "6"), "`axes.adc_bits` must be list or null, got 6"),
    "wrong type": (("--axes.adc_bits", "[a]"), "`axes.adc_bits` must be int or null, got ['a']"),
    "wrong value": (
        ("--axes.adc_bits", "[8, 99]"),
        "must be 1..16 or null, got 99, at the point adc_bits 99 of `axes`",
    ),
    "wrong unit": (("--axes.random_noise", "[0.5 volt]"), "with a unit of %, lsb, mV, got '0.5 volt'"),
    "wrong combination": (("--axes", "{input_bits: [2, 4], encoding_bits: [4]}"), "1..2 (input_bits), got 4"),
    "list in a list": (("--axes.rows", "[[1]]"), "`axes.rows` must be int or null, got [[1]]"),
    "null in a list": (("--axes.rows", "[null]"), "`axes.rows` must be int or null, got [None]"),
    "no number": (("--axes.random_noise", "[.nan]"), "got nan, at the point random_noise nan of `axes`"),
    "negative": (("--axes.random_noise", "[-0.1]"), "got -0.1, at the point random_noise -0.1 of `axes`"),
    "list of axes": (("--axes", "[1]"), "`axes` must be a mapping of settings, or a YAML file of one, got [1]"),
    "negative trials": (("--trials", "-1"), "`trials` must be 1..65535, got -1"),
    "half a trial": (("--trials", "1.5"), "`trials` must be int, got 1.5"),
    "1e9 trials": (("--trials", "1e9"), "`trials` must be int, got 1000000000.0"),
    "many trials": (("--trials", "1000000000"), "`trials` must be 1..65535, got 1000000000"),
    "no trial": (("--trials", "0"), "`trials` must be 1..65535, got 0"),
}

ENTRIES = "must be a list of float, quantized, simulated or mappings, such as [float, {macro: {adc_bits: 7}}], "
COMPARE = {
    "spelling": (
        "[float, quantised]",
        "`compare` must be a class by its import path, such as package.module.Class, or ",
    ),
    "fidelity that is none here": ("[estimated]", "`compare` must be a class by its import path, such as package.modu"),
    "a number": ("3", "`compare` must be list or null, got 3"),
    "a name": ("quantized", "`compare` must be list or null, got quantized"),
    "a mapping": ("{macro: {adc_bits: 7}}", "`compare` must be list or null, got {'macro': {'adc_bits': 7}}"),
    "a list in a list": ("[[float]]", "`compare` must be one of 'float', 'quantized', 'simulated' or null, got [['"),
    "null in a list": ("[null]", "`compare` must be one of 'float', 'quantized', 'simulated' or null, got [No"),
    "no entry": ("[]", "`compare` must be a list of one or more, such as [float, {macro: {adc_bits: 7}}], got []"),
    "a field": ("[{adc_bits: 7}]", "`compare.adc_bits` is no setting"),
    "a key": ("[{fidelty: float}]", "`compare.fidelty` is no setting; nearest: compare.fidelity"),
    "a number as macro": ("[{macro: 7}]", "`compare.macro` must be dict or one of 'float', 'quantized', 'simulated' o"),
    "a list as layers": ("[{layers: [fc]}]", "`compare.layers` must be dict or one of 'float', 'quantized', 'simulate"),
    "a field of no macro": ("[{macro: {adc_bit: 7}}]", "`macro.adc_bit` is no field of a macro, nearest: adc_bits"),
    "a text in a macro": ("[float, {macro: {adc_bits: x}}]", "`macro.adc_bits` must be 1..16 or null, got 'x'"),
}

COMMANDS = {
    "typo": (("fitt", "-c", "tiny.yaml"), "got 'fitt'; nearest: fit"),
    "capitals": (("VALIDATE", "-c", "tiny.yaml"), "got 'VALIDATE'; nearest: validate"),
    "blank": (("validate ", "-c", "tiny.yaml"), "got 'validate '; nearest: validate"),
    "empty": (("",), "asim has the commands fit, validate, "),
    "twice": (("validate", "validate", "-c", "tiny.yaml"), "unrecognized arguments: validate"),
    "empty config": (("fit", "-c", ""), "a file (.yaml) is needed, or the name of a shipped one, got ''"),
    "empty config with =": (("fit", "--config="), "a file (.yaml) is needed, or the name of a shipped one, got ''"),
    "device as config": (("fit", "-c", "/dev/zero"), "/dev/zero is a pipe or a device; a file (.yaml) is needed"),
    "second config missing": (("fit", "-c", "tiny.yaml", "-c", "nosuch"), "There is no file 'nosuch'"),
    "empty checkpoint": ((*VALIDATE, "--ckpt_path", ""), "a file (.ckpt) is needed, or the name of a shipped one, got"),
    "device as checkpoint": ((*VALIDATE, "--ckpt_path", "/dev/zero"), "/dev/zero is a pipe or a device"),
    "word as seed": ((*VALIDATE, "--seed_everything", "abc"), "`seed_everything` must be bool or int, got abc"),
    "nothing to predict": (
        ("predict", "-c", "tiny.yaml", "--trainer.limit_predict_batches", "0"),
        "No image was predicted; `trainer.limit_predict_batches` bounds them",
    ),
    "no images to verify": (("verify", "-c", "tiny.yaml", "--samples", "-1"), "`samples` must be 1 or more, got -1"),
    "no images to time": (("bench", "-c", "tiny.yaml", "--batch", "[1, -1]"), "1 or more each, got [1, -1]"),
    "unknown": (
        ("publish",),
        "asim has the commands fit, validate, test, predict, sweep, search, ",
    ),
    "none": ((), "asim needs a command first"),
    "no recipe": (("sweep",), "asim sweep needs a recipe, as in asim sweep -c quickstart"),
    "after its options": (("-c", "tiny.yaml", "fit"), "Options come after the command, as in asim fit -c CONFIG"),
    "config without a name": (("fit", "-c"), "argument -c/--config: expected one argument"),
    "missing config": (("fit", "-c", "nosuch.yaml"), "There is no file 'nosuch.yaml'; shipped configs, nearest: "),
    "config with a typo": (("fit", "-c", "quickstar"), "nearest: quickstart"),
}

FILES = {
    "not YAML": (b"a: [1, 2\nb: }\n", "tiny.yaml, line 2, is not YAML: "),
    "a list": (b"- 1\n- 2\n", "tiny.yaml must hold a mapping of settings, got a list"),
    "a text": (b"hello", "tiny.yaml must hold a mapping of settings, got a str"),
    "bytes": (bytes(range(256)), "tiny.yaml must be a YAML file, got one that is no text"),
    "empty": (b"", "tiny.yaml must hold a mapping of settings, got nothing"),
    "unknown key": (b"modell: {fidelity: float}", "`modell.fidelity` is no setting; nearest: model"),
    "unknown key in a group": (b"trainer: {max_epoch: 3}", "nearest: trainer.max_epochs"),
    "unknown key of the data": (b"data: {init_args: {batchsize: 3}}", "nearest: data.init_args.batch_size"),
    "null plan": (b"model: {plan: null}", "`model.plan` must be a mapping of settings, got None"),
}


GROUPS = {
    "null model": (b"model: null", "`model` must be a mapping of settings, got None"),
    "null trainer": (b"trainer: null", "`trainer` must be a mapping of settings, got None"),
    "null backbone": (b"model: {backbone: null}", "`model.backbone` must be a mapping of settings, got None"),
    "null macro": (b"model: {plan: {macro: null}}", "`model.plan.macro` must be a mapping of settings, got None"),
    "null optimizer": (b"model: {optimizer: null}", "`model.optimizer` must be a mapping of settings, got None"),
    "list as model": (b"model: [1]", "`model` must be a mapping of settings, got [1]"),
    "number as model": (b"model: 3", "`model` must be a mapping of settings, got 3"),
    "set as model": (b"model: !!set {a, b}", "`model` must be a mapping of settings, got {"),
    "list as trainer": (b"trainer: [1]", "`trainer` must be a mapping of settings, got [1]"),
    "text as trainer": (b"trainer: abc", "`trainer` must be a mapping of settings, or a YAML file of one, got abc"),
    "switch as backbone": (b"model: {backbone: true}", "`model.backbone` must be a mapping"),
    "number as callbacks": (
        b"trainer: {callbacks: 3}",
        "`trainer.callbacks` must be list or null, got 3",
    ),
    "number as class": (b"data: {class_path: 3}", "`data` cannot be {'class_path': 3}: argument of type 'int'"),
    "settings of a command": (b"fit: {model: {trial: 1}}", "`fit.model.trial` is no setting; nearest: model.trial"),
    "list as checkpoint": (b"ckpt_path: [1]", "`ckpt_path` must be str or null, got [1]: Not of type Path: expected s"),
}

ELSEWHERE = ": `model.backbone.pretrained` names weights to start from"
NETWORK = {
    "weights for timm": ("{checkpoint_path: x.pth}", f"must not hold checkpoint_path{ELSEWHERE}"),
    "timm's own weights": ("{pretrained: true}", f"must not hold pretrained{ELSEWHERE}"),
    "overlay": ("{pretrained_cfg_overlay: {file: x.pth}}", f"must not hold pretrained_cfg_overlay{ELSEWHERE}"),
    "classes": ("{num_classes: 5}", "must not hold num_classes: `model.num_classes` has it"),
    "features": ("{features_only: true}", "must not hold features_only: a classifier is needed"),
    "number as name": ("{1: 2}", "must have names of arguments as keys, got 1"),
    "wide": ("{stem_width: 1000000000000}", "it takes more memory than there is, "),
    "negative": ("{in_chans: -1}", "Trying to create tensor with negative dimension -1"),
    "text as number": ("{in_chans: one}", "`model.backbone.kwargs` does not fit resnet10t: "),
    "activation": ("{act_layer: nosuch}", "does not fit resnet10t: 'nosuch' is no name that timm knows"),
    "norm by import path": ("{norm_layer: os.system}", "'os.system' is no name that timm knows"),
    "no channels": ("{in_chans: 0}", "The network does not run on an input of shape (1, 0, 28, 28)"),
}

TRAINER = {
    "no image": (("--trainer.limit_val_batches", "0"), "No image was evaluated; `trainer.limit_val_batches`"),
    "image size": (("--model.backbone.image_size", "10000000"), "`model.backbone.image_size` must be 1..8192 pixels"),
    "many classes": (("--model.num_classes", "1000000000000"), "it takes more memory than there is, "),
    "long path": (("--ckpt_path", "a" * 300), "aaa cannot be read or written: File name too long"),
    "bytes that are no UTF-8": (("--model.fidelity", "a\udcffb"), "must be one of float, quantized, estimated, simul"),
    "no hook": (
        ("--trainer.callbacks+=LambdaCallback", "--trainer.callbacks.on_fit_stat=os.getcwd"),
        "`trainer.callbacks.on_fit_stat` is no setting; nearest: trainer.callbacks.o",
    ),
}

FIT_ALONE = {
    "many processes": (("--trainer.devices", "9999"), "`trainer.devices` must be 1..8 on this machine's CPU, got 9999"),
    "part of an epoch": (("--trainer.max_epochs", "1.5"), "`trainer.max_epochs` must be int or null, got 1.5"),
    "duration": (("--trainer.max_time", "abc"), "`Timer(duration='abc')` is not a valid duration"),
    "mistyped callback": (("--trainer.callbacks+=NoiseRmp",), "got NoiseRmp; nearest: NoiseRamp, NoiseSweep"),
    "mistyped callback of Lightning's": (("--trainer.callbacks+=EarlyStoping",), "; nearest: EarlyStopping"),
    "abstract callback": (("--trainer.callbacks+=abc.ABC",), "`trainer.callbacks` cannot be abc.ABC: Import p"),
    "function as callback": (
        ("--trainer.callbacks", "[os.getcwd]"),
        "Import path os.getcwd does not correspond to a subclass of Callback",
    ),
    "no images a step": (("--data.init_args.batch_size", "0"), "batch_size must be at least 1, got 0"),
    "null images a batch": (
        ("--data.init_args.eval_batch_size", "null"),
        "eval_batch_size must be at least 1, got null",
    ),
    "null trainer": (("--trainer", "null"), "`trainer` must be a mapping of settings, or a YAML file of one, got null"),
}


def rows(group: str, cases: Mapping[str, tuple[Sequence[str], str]], command: tuple[str, ...]) -> dict[str, Wrong]:
    return {f"{group}: {name}": flag(said, *given, command=command) for name, (given, said) in cases.items()}


ROWS = {
    **rows("macro", MACRO, VALIDATE),
    **rows("key", KEYS, VALIDATE),
    **rows("model", MODEL, VALIDATE),
    **rows("data", DATA, VALIDATE),
    **rows("axes", AXES, SWEEP),
    **{f"compare: {name}": flag(said, "--compare", given) for name, (given, said) in COMPARE.items()},
    **rows("trainer", TRAINER, VALIDATE),
    **rows("fit", FIT_ALONE, FIT),
    **rows("command", COMMANDS, ()),
    **{f"file: {name}": recipe(said, content) for name, (content, said) in (FILES | GROUPS).items()},
    **{f"network: {name}": flag(said, "--model.backbone.kwargs", given) for name, (given, said) in NETWORK.items()},
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("wrong", ROWS.values(), ids=ROWS)
def test_rows(wrong: Wrong, asim: Asim, folder: Path, run: Run) -> None:
    assert_refused(wrong, asim, folder, run)


@pytest.mark.parametrize("case", PLAN.values(), ids=PLAN)
def test_plan_in_yaml(case: tuple[str, object, str], asim: Asim, folder: Path, run: Run, written: Write) -> None:
    field, value, expected = case
    content = written(**{f"model__plan__{field}": value}).read_bytes()
    assert_refused(recipe(expected, content), asim, folder, run)


def test_a_rate_that_overflows_is_said_in_one_line(asim: Asim, written: Write) -> None:
    """What its first steps wrote stays: they were made."""
    error = asim("fit", "-c", written(), "--model.optimizer.lr", "1e30").error
    assert "Layer `conv1.0` needs finite weights, got NaN" in error


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
