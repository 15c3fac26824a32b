"""Rotation of a network's residual stream: the same function, which networks have one, and weights of both kinds."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from asim_lightning import MacroConfig, Plan, calibrate_, convert_
from asim_lightning.cost import Technology, cost
from asim_lightning.nn.calibration import quantized_layers
from asim_lightning.nn.hadamard import Hadamard
from asim_lightning.surgery import set_fidelity_
from asim_lightning.surgery.rotate import _rotation, find_rotation, rotate_
from tests.conftest import relative
from tests.surgery.networks import Net
from tests.surgery.test_decoders import LENGTH, TOKENS, gpt, linear, llama

MAX_TOKENS = 12


class MaxNorm(nn.Module):
    """A norm whose length a rotation does not keep."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * x / x.abs().amax(-1, keepdim=True)


def mlp(width: int, hidden: int, bias: bool = True, norm: Callable[[int], nn.Module] = nn.LayerNorm) -> Net:
    """Two blocks with an MLP, a position that is a parameter, and an embedding that is the last layer's weight, too."""

    def forward(model: Any, tokens: Tensor) -> Tensor:
        x = model.embed(tokens) + model.position[: tokens.shape[1]]
        for norm, up, down in ((model.n0, model.up0, model.down0), (model.n1, model.up1, model.down1)):
            x = x + down(F.gelu(up(norm(x))))
        return model.head(model.last(x))

    parts: dict[str, Any] = {}
    for n in (0, 1):
        parts |= {f"n{n}": norm(width), f"up{n}": nn.Linear(width, hidden, bias), f"down{n}": nn.Linear(hidden, width)}
    embed, head = nn.Embedding(TOKENS, width), linear(width, TOKENS)
    head.weight = embed.weight
    position = nn.Parameter(torch.randn(MAX_TOKENS, width))
    return Net(forward, embed=embed, position=position, **parts, last=norm(width), head=head)


def transformers_network(family: str) -> nn.Module:
    transformers = pytest.importorskip("transformers")
    sizes = {
        "vocab_size": TOKENS,
        "use_cache": False,
        "num_hidden_layers": 2,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    if family == "gpt2":
        return transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=24, n_head=2, n_positions=16, **sizes))
    sizes |= {"hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 4}
    if family == "gpt_neox":
        return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**sizes))
    config = transformers.LlamaConfig(num_key_value_heads=2, head_dim=8, tie_word_embeddings=True, **sizes)
    return transformers.LlamaForCausalLM(config)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], int, int, int]] = {  # layers that read, that write; attentions; MLPs
    "llama": (llama, 6, 2, 1),
    "gpt": (gpt, 3, 2, 0),  # one layer makes values, queries and keys, which are scaled
    "mlp": (lambda: mlp(12, 20, bias=False), 3, 2, 0),
    "transformers_llama": (lambda: transformers_network("llama"), 11, 4, 2),
    "transformers_gpt2": (lambda: transformers_network("gpt2"), 5, 4, 2),
    "transformers_gpt_neox": (lambda: transformers_network("gpt_neox"), 5, 4, 0),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    """A network with gains and biases that are not 1 and 0, and tokens."""
    torch.manual_seed(0)
    network = NETWORKS[name][0]().eval()
    for parameter in network.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.3 * torch.randn_like(parameter)
    return network, torch.randint(TOKENS, (2, LENGTH))


@torch.no_grad()
def logits(network: nn.Module, tokens: Tensor) -> Tensor:
    found: Any = network(tokens)
    return found if isinstance(found, Tensor) else found.logits


@pytest.mark.parametrize("name", NETWORKS)
def test_a_rotated_network_computes_the_same_and_loads_weights_from_before_and_after(name: str) -> None:
    network, tokens = made(name)
    expected, before = logits(network, tokens), copy.deepcopy(network.state_dict())
    rotation = find_rotation(network, "hadamard", tokens)
    _, readers, writers, attentions = NETWORKS[name]
    stream = rotation.stream
    assert (len(stream.readers), len(stream.writers), len(stream.attentions)) == (readers, writers, attentions)
    report = convert_(network, Plan(rotate="hadamard", per_channel=True, input_range="batch"), tokens)
    assert report.notes[-1] == str(rotation)
    transforms = [row.name for row in report if row.kind == "transform"]
    assert transforms == [name for name, module in network.named_modules() if isinstance(module, Hadamard)]
    assert {f"{place.name}.hadamard" for place in stream.hidden} <= {*transforms}
    assert all(row.macro is not None for row in report if row.name not in transforms)
    set_fidelity_(network, "float")
    assert 0 < relative(logits(network, tokens), expected) < 1e-5
    new = network.state_dict().keys() - before.keys()
    assert {key for key in new if not key.endswith(("input_max", "weight_max"))} == {"asim_rotation"}
    after = copy.deepcopy(network.state_dict())
    for state in (before, after):
        for parameter in network.parameters():
            parameter.data.zero_()
        network.load_state_dict(state, strict=state is after)
        assert all(torch.equal(value, after[key]) for key, value in network.state_dict().items())
    set_fidelity_(network, "simulated")
    assert 0 < relative(logits(network, tokens), expected) < 0.1
    around = nn.ModuleDict({"backbone": network})
    around.load_state_dict({f"backbone.{key}": value for key, value in before.items()}, strict=False)
    assert all(torch.equal(value, after[key]) for key, value in network.state_dict().items())


@given(st.sampled_from([1, 2, 3, 6, 12, 96, 576]))
def test_a_rotation_is_orthogonal_and_keeps_sums(width: int) -> None:
    turned = _rotation(width)
    assert torch.allclose(turned @ turned.t(), torch.eye(width, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(turned.sum(0), torch.ones(width, dtype=torch.float64), atol=1e-12)
    if width > 96:  # one large number is spread over all
        assert float(turned.abs().max()) < 8 * width**-0.5


@given(st.integers(2, 24), st.sampled_from([3, 6, 8, 20]), st.booleans(), st.sampled_from([nn.LayerNorm, nn.RMSNorm]))
@settings(max_examples=15, deadline=None)
def test_networks_of_any_width_are_rotated(width: int, hidden: int, bias: bool, norm: Any) -> None:
    network = mlp(width, hidden, bias, norm).double().eval()
    tokens = torch.randint(TOKENS, (2, 5))
    expected = logits(network, tokens)
    rotate_(network, find_rotation(network, "hadamard", tokens))
    assert float((logits(network, tokens) - expected).abs().max()) < 1e-9
    assert network.head.weight is not network.embed.weight


@pytest.mark.parametrize(("layer", "rotate"), [("lm_head", "stream"), ("down", "hadamard")])
def test_a_layer_with_large_channels_loses_less_on_a_macro(layer: str, rotate: str) -> None:
    network, tokens = made("llama")
    network.embed.weight.data[:, 3] *= 30.0
    for reader in (network.q_proj, network.k_proj, network.v_proj, network.gate, network.up, network.lm_head):
        reader.weight.data[:, 3] /= 30.0
    network.up.weight.data[5] *= 300.0
    network.down.weight.data[:, 5] /= 300.0
    expected, errors = logits(network, tokens), []
    for way in (None, rotate):
        one = copy.deepcopy(network)
        convert_(one, Plan(MacroConfig(rows=8), rotate=way, input_range="batch", per_channel=True), tokens)
        set_fidelity_(one, "float")
        one.get_submodule(layer).fidelity = "simulated"
        errors.append(relative(logits(one, tokens), expected))
    assert errors[1] < 0.6 * errors[0]


def test_an_unequal_rotation_is_refused_and_leaves_the_network_as_it_was() -> None:
    torch.manual_seed(0)
    network, tokens = mlp(12, 20, norm=MaxNorm), torch.randint(TOKENS, (2, 5))
    before = {key: (id(value), value.clone()) for key, value in network.state_dict(keep_vars=True).items()}
    modules = [(name, id(module)) for name, module in network.named_modules()]
    with pytest.raises(ValueError, match=r"`plan.rotate` would change what `up0` computes, by .* set it to null"):
        convert_(network, Plan(rotate="hadamard"), tokens)
    assert [(name, id(module)) for name, module in network.named_modules()] == modules
    for key, value in network.state_dict(keep_vars=True).items():
        assert (id(value), True) == (before[key][0], torch.equal(value, before[key][1]))
    assert not network._load_state_dict_pre_hooks
    assert not any(module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_transformers_do_not_tie_rotated_weights_again(family: str) -> None:
    network, tokens = made(f"transformers_{family}")
    expected = logits(network, tokens)
    undo = rotate_(network, find_rotation(network, "stream", tokens))
    network.tie_weights()
    assert relative(logits(network, tokens), expected) < 1e-5
    undo()
    network.tie_weights()
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    assert torch.equal(logits(network, tokens), expected)


def test_an_error_of_the_conversion_undoes_the_rotation() -> None:
    network, tokens = made("llama")
    before = {key: id(value) for key, value in network.state_dict(keep_vars=True).items()}
    with pytest.raises(ValueError, match=r"`plan.keep` matches no layer"):
        convert_(network, Plan(rotate="hadamard", keep=["none"]), tokens)
    assert {key: id(value) for key, value in network.state_dict(keep_vars=True).items()} == before
    assert not any(isinstance(module, Hadamard) for module in network.modules())


def scaled_stream() -> nn.Module:
    def forward(model: Any, tokens: Tensor) -> Tensor:
        x = model.embed(tokens)
        return model.head(model.last(x + model.scale * model.down(F.relu(model.up(model.norm(x))))))

    return Net(
        forward, embed=nn.Embedding(TOKENS, 8), norm=nn.LayerNorm(8), up=nn.Linear(8, 16), down=nn.Linear(16, 8),
        last=nn.LayerNorm(8), scale=nn.Parameter(torch.rand(8)), head=nn.Linear(8, TOKENS),
    )  # fmt: skip


def head_of_the_embedding() -> nn.Module:
    def forward(model: Any, tokens: Tensor) -> Tensor:
        x = model.embed(tokens)
        x = x + model.down(F.relu(model.up(model.norm(x))))
        return F.linear(model.last(x), model.embed.weight)

    return Net(
        forward, embed=nn.Embedding(TOKENS, 8), norm=nn.LayerNorm(8), up=nn.Linear(8, 16), down=nn.Linear(16, 8),
        last=nn.LayerNorm(8),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: nn.Sequential(nn.Embedding(TOKENS, 8), nn.Linear(8, 8)), "no norm reads a sum of embeddings"),
        (scaled_stream, "`mul in the network` writes it"),
        (head_of_the_embedding, "uses the output of `last`, too"),
    ],
)
def test_a_network_without_a_stream_is_refused_and_the_reason_is_said(
    make: Callable[[], nn.Module], found: str
) -> None:
    with pytest.raises(ValueError, match=rf"`plan.rotate` needs a residual stream .*{found}.*set it to null"):
        convert_(make(), Plan(rotate="stream"), torch.randint(TOKENS, (2, 5)))


@pytest.mark.parametrize("rotate", ["stream", "hadamard"])
def test_a_layer_may_be_called_with_a_keyword(rotate: str) -> None:
    def forward(model: Any, tokens: Tensor) -> Tensor:
        x = model.embed(tokens)
        return model.head(model.last(x + model.down(input=F.relu(model.up(model.norm(x))))))

    network, tokens = Net(
        forward, embed=nn.Embedding(TOKENS, 8), norm=nn.LayerNorm(8), up=nn.Linear(8, 16), down=nn.Linear(16, 8),
        last=nn.LayerNorm(8), head=nn.Linear(8, TOKENS),
    ).eval(), torch.randint(TOKENS, (2, 5))  # fmt: skip
    expected = logits(network, tokens)
    undo = rotate_(network, find_rotation(network, rotate, tokens))
    assert 0 < relative(logits(network, tokens), expected) < 1e-5
    undo()
    with pytest.raises(ValueError, match="`down` is called with its input as a keyword, and surgery needs it"):
        convert_(network, Plan(rotate=rotate), tokens)


@pytest.mark.parametrize("rotate", ["stream", "hadamard"])
def test_a_layer_may_read_and_write_the_stream(rotate: str) -> None:
    def forward(model: Any, tokens: Tensor) -> Tensor:
        x = model.embed(tokens)
        return model.head(model.last(x + model.mix(model.norm(x))))

    network, tokens = Net(
        forward, embed=nn.Embedding(TOKENS, 8), norm=nn.LayerNorm(8), mix=nn.Linear(8, 8), last=nn.LayerNorm(8),
        head=nn.Linear(8, TOKENS),
    ).eval(), torch.randint(TOKENS, (2, 5))  # fmt: skip
    expected = logits(network, tokens)
    rotate_(network, find_rotation(network, rotate, tokens))
    assert 0 < relative(logits(network, tokens), expected) < 1e-5


@pytest.mark.parametrize("part", [nn.Embedding(TOKENS, 8), nn.LayerNorm(8), nn.Linear(8, 16)])
def test_an_example_must_reach_every_layer(part: nn.Module) -> None:
    def forward(model: Any, tokens: Tensor) -> Tensor:
        x, up = model.embed(tokens), model.up
        if tokens.shape[1] > 8 and isinstance(model.part, nn.Linear):
            up = model.part
        elif tokens.shape[1] > 8:
            x = x + model.part(tokens if isinstance(model.part, nn.Embedding) else x)
        x = x + model.down(F.relu(up(model.norm(x))))
        return model.head(model.last(x))

    network = Net(
        forward, embed=nn.Embedding(TOKENS, 8), norm=nn.LayerNorm(8), up=nn.Linear(8, 16), down=nn.Linear(16, 8),
        last=nn.LayerNorm(8), head=nn.Linear(8, TOKENS), part=part, unused=nn.ParameterList([torch.ones(1)]),
    ).eval()  # fmt: skip
    plan = Plan(rotate="stream", keep=["part"] if isinstance(part, nn.Linear) else [])
    with pytest.raises(ValueError, match=r"needs an example that reaches every layer, and `part` did not run"):
        convert_(network, plan, torch.randint(TOKENS, (2, 5)))
    assert all(not module._forward_hooks for module in network.modules())


def test_weights_of_another_rotation_and_incomplete_weights_are_refused() -> None:
    networks = []
    for rotate in ("stream", "hadamard"):
        network, tokens = made("llama")
        before = network.state_dict()
        convert_(network, Plan(rotate=rotate), tokens)
        networks.append(network)
    with pytest.raises(ValueError, match=r"`plan.rotate` must be stream, .* got hadamard"):
        networks[1].load_state_dict(networks[0].state_dict())
    with pytest.raises(ValueError, match=r"rotates the weights of a whole network"):
        networks[0].load_state_dict({"down.weight": before["down.weight"]}, strict=False)


@pytest.mark.parametrize(("rotate", "kept"), [("stream", {"down"}), ("hadamard", set())])
def test_ranges_from_before_the_rotation_are_fitted_again(rotate: str, kept: set[str]) -> None:
    network, tokens = made("llama")
    network.embed.weight.data[:, 3] *= 30.0
    states = []
    for way in (None, rotate):
        one = copy.deepcopy(network)
        convert_(one, Plan(rotate=way, per_channel=True, input_range="calibrated"), tokens)
        calibrate_(one, [tokens])
        states.append(copy.deepcopy(one.state_dict()))
    one.load_state_dict(states[0])
    layers = quantized_layers(one)
    assert {name for name, layer in layers.items() if not layer.lacks_range} == kept
    calibrate_(one, [tokens], missing=True)
    found = one.state_dict()
    for name, layer in layers.items():
        for each in layer.ranges:
            expected = states[0 if name in kept else 1][f"{name}.{each}"]
            assert float(found[f"{name}.{each}"]) == pytest.approx(float(expected), rel=1e-3)
    one.load_state_dict(states[1])  # those from after it are kept
    assert all(torch.equal(value, states[1][key]) for key, value in one.state_dict().items())


def test_all_parameters_of_a_rotated_network_are_trained() -> None:
    network, tokens = made("llama")
    convert_(network, Plan(rotate="hadamard", input_range="batch"), tokens)
    F.cross_entropy(network.train()(tokens).flatten(0, 1), tokens.flatten()).backward()
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in network.parameters())


def test_rotated_weights_and_answers_do_not_depend_on_threads() -> None:
    found, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            network, tokens = made("llama")
            convert_(network, Plan(rotate="hadamard", per_channel=True), tokens)
            calibrate_(network, [tokens])
            found.append((network.state_dict(), logits(network, tokens)))
    finally:
        torch.set_num_threads(threads)
    (state, answers), (other_state, other_answers) = found
    assert all(torch.equal(value, other_state[key]) for key, value in state.items())
    assert torch.equal(answers, other_answers)


def test_cost_counts_the_additions_of_one_sample() -> None:
    """`down` has 32 inputs with 5 additions each; queries and keys of four heads of 4 have 2 additions a number."""
    network, tokens = made("llama")
    convert_(network, Plan(rotate="hadamard"), tokens)
    technology = Technology(node="28 nm", supply="1.0 V")
    report = cost(network, technology)
    additions = {layer.name: layer.done.additions for layer in report.layers if layer.done.additions}
    assert additions == {"qk.hadamard": 2 * LENGTH * 16 * 2, "down.hadamard": LENGTH * 32 * 5}
    energies = {layer.name: layer.energy.total for layer in report.layers}
    assert energies["down.hadamard"] == pytest.approx(LENGTH * 32 * 5 * technology.float_bits * 4.2)
    assert any(note.startswith(f"{sum(additions.values()):,} digital additions") for note in report.notes)
    assert "not on a macro" not in str(report.notes)
