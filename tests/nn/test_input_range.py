"""Input ranges: the batch's maximum as published, a calibrated one without influence of batch mates, or PACT's clip."""

import warnings

import pytest
import torch

from asim_lightning.circuit import MacroConfig
from asim_lightning.nn import PACT, CimLinear, CimMatmul
from tests.nn.layers import ALL, inputs_of, layer_of

MACRO = MacroConfig(8, 6, rows=17)


def linear(**settings: str) -> CimLinear:
    return layer_of("linear", MACRO, **settings).eval()  # type: ignore[no-any-return]


def test_with_the_batch_range_an_answer_depends_on_batch_mates_as_published_and_calibrated_it_does_not() -> None:
    layer, x = linear(), torch.rand(2, 12)
    larger = x * torch.tensor([[1.0], [10.0]])
    assert not torch.allclose(layer(larger)[0], layer(larger[:1])[0], rtol=0.01)
    layer.calibrate(x)
    assert torch.equal(layer(larger)[0], layer(x[:1])[0])
    assert layer.input_range == "calibrated"
    many = torch.rand(3000, 12)
    many[0, 0] = 40.0
    layer.calibrate(many, method="percentile")
    assert 0.9 < float(layer.input_max) < 30.0


@pytest.mark.parametrize("kind", ALL)
def test_calibrating_to_the_batch_changes_nothing_for_that_batch(kind: str) -> None:
    layer, inputs = layer_of(kind, MACRO).eval(), inputs_of(kind)
    expected = layer(*inputs)
    layer.calibrate(*inputs)
    assert torch.equal(layer(*inputs), expected)
    if kind == "matmul":  # the stored operand is clipped to a range of its own
        assert not torch.allclose(layer(inputs[0], 3 * inputs[1]), 3 * expected, rtol=0.01)


def test_a_product_with_the_range_of_one_operand_uses_the_batch_for_the_other() -> None:
    x, w = torch.rand(2, 3, 8), 5 * torch.randn(2, 3, 8)
    layer = CimMatmul(MACRO, False).eval()
    expected = layer(x, w)
    layer.store_range(float(x.max()))
    assert torch.equal(layer(x, w), expected)


def test_without_stored_ranges_the_batch_is_used_which_all_layers_say_once() -> None:
    layers, x = [linear(input_range="calibrated") for _ in range(2)], torch.rand(2, 12)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        answers = [layer(x) for layer in layers for _ in range(2)]
    text = "Layers without a calibrated input range use the maximum of each batch"
    assert [str(each.message).partition(";")[0] for each in seen] == [text]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")  # as after a change of the filters, which forgets what Python has shown
        answers = [layer(x) for layer in layers]
    assert not seen
    layer = layers[0]
    layer.calibrate(x)
    layer.clear_range()
    assert (layer.has_range, float(layer.input_max)) == (False, -1)
    layer.input_range = "batch"
    assert all(torch.equal(layer(x), answer) for answer in answers)


def test_zeros_and_negatives_under_an_unsigned_range_are_zeros() -> None:
    layer = linear()
    layer.macro = MACRO.with_fields(random_noise=0.5)
    torch.testing.assert_close(layer(torch.zeros(2, 12)), layer.bias.expand(2, -1), rtol=0, atol=1e-5)
    layer.macro = MACRO
    for x in (torch.zeros(2, 12), torch.full((2, 12), 1e-3).index_fill_(0, torch.tensor(0), -1e-6)):
        assert torch.equal(layer(x)[0], layer.bias.detach())
    layer.calibrate(torch.zeros(2, 12))
    assert torch.equal(layer(torch.zeros(2, 12)), layer.bias.detach().expand(2, 4))


def test_refusing_negative_values_does_not_depend_on_the_batch() -> None:
    layer = CimLinear(2, 2, macro=MacroConfig()).eval()
    layer.store_range(10.0)
    x = torch.tensor([[-0.05, 0.3], [10.0, 1.0]])
    assert torch.equal(layer(x)[:1], layer(x[:1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_values_and_published_gradients_in_the_type_of_the_input(dtype: torch.dtype) -> None:
    pact = PACT(2.0)
    x = torch.tensor([-1.0, 0.0, 1.0, 2.0, 2.5, 9.0], dtype=dtype, requires_grad=True)
    slope = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], dtype=dtype)
    y = pact(x)
    (y * slope).sum().backward()
    assert y.tolist() == [0, 0, 1, 2, 2, 2]
    assert x.grad.tolist() == [0, 2, 4, 8, 0, 0]  # g where 0 <= x <= alpha
    assert float(pact.alpha.grad) == 48  # sum of g where x > alpha
    assert (y.dtype, pact.alpha.grad.dtype, list(pact.state_dict())) == (dtype, torch.float32, ["alpha"])


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("inf"), float("nan"), "6"])
def test_a_clip_that_is_not_above_zero_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match="`alpha` of PACT must be above 0, got"):
        PACT(alpha)


def test_a_layer_that_follows_a_clip_takes_its_range_in_evaluation() -> None:
    pact, layer = PACT(2.0), CimLinear(20, 3, macro=MacroConfig(4, 4, adc_bits=None))
    layer.follow_pact(pact)
    assert layer.input_range == "pact"
    assert len(list(layer.parameters())) == 2
    x = torch.rand(4, 20)
    trained, _ = layer(x), layer.clear_range()
    layer.input_range = "batch"
    assert torch.equal(trained, layer(x))  # as published, the maximum of the batch
    layer.input_range = "pact"
    followed = layer.eval()(x)
    layer.store_range(2.0)
    assert torch.equal(followed, layer(x))
    layer.input_range = "pact"
    torch.nn.init.constant_(pact.alpha, 1.0)
    assert not torch.equal(followed, layer(x))
