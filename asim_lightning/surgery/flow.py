"""The origin of each tensor of a run (image, product, softmax), and the multiplications of each module."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from asim_lightning.surgery.multiplications import OperatorCounts, name_of
from asim_lightning.surgery.watch import Call

_LOOK_UPS = ("embedding", "embedding_bag", "index", "index_select", "gather")
"""Functions that take rows of a table by number: the rows are no pixels, although no layer has computed them."""
_SOFTMAX = ("_softmax", "softmax", "_safe_softmax")


class Flow(TorchDispatchMode):
    """While active, tracks the origin of each tensor, and counts multiplications.

    Args:
        images: Inputs of the network.
        running: Gives the full name of the innermost running module.
        explained: Modules whose multiplications by element a report need not name: layers.
    """

    def __init__(self, images: Iterable[Tensor], running: Callable[[], str], explained: Collection[str] = ()) -> None:
        super().__init__()
        self.macs: Counter[str | Call] = Counter()
        """Multiplications of all samples, by module, or by product of a function call."""
        self.functions: defaultdict[str | Call, set[str]] = defaultdict(set)
        """Names of the functions that multiplied, such as conv2d."""
        self.uncounted: defaultdict[str | Call, set[str]] = defaultdict(set)
        """Names of operators that may multiply, nobody knows how often."""
        self.elements: Counter[tuple[str, str]] = Counter()
        """Multiplications by element of numbers that depend on an image, of all samples, by operator and module."""
        self.of_images: set[str] = set()
        """Modules with convolutions whose weights depend on the image."""
        self.softmaxed: set[Call] = set()
        """Products with results that go into a softmax."""
        self.weights: set[Call] = set()
        """Products with results that are weights of a convolution."""
        self.product: Call | None = None
        """The product of a function call that is being computed."""
        self._running = running
        self._explained = frozenset(explained)
        self._counts = OperatorCounts()
        self._marks = WeakTensorKeyDictionary()
        for image in images:
            self._marks[image] = _Marks(True, True)

    def sees_image(self, *tensors: Tensor) -> bool:
        """Whether one of the tensors depends on the image."""
        return any(self._of(x).image for x in tensors)

    def is_image(self, x: Tensor) -> bool:
        """Whether a tensor is computed from the image without a layer or product."""
        return self._of(x).untouched

    def is_score(self, x: Tensor) -> bool:
        """Whether a tensor comes from a softmax without a product after it."""
        return self._of(x).scores

    def upstream(self, x: Tensor) -> frozenset[str]:
        """Layers that a tensor is computed from."""
        marks = self._of(x)
        return marks.last | marks.before

    def after_layer(self, name: str, x: Tensor, y: Tensor) -> None:
        """Record that a layer computed y from x; inside an attention, scores may pass through a layer."""
        marks = self._of(x)
        inside = frozenset(call for call in marks.products if _is_inside(name, call.owner))
        scores = marks.scores and _is_inside(name, marks.owner)
        self._marks[y] = _Marks(
            marks.image, False, scores, marks.owner, inside, frozenset([name]), marks.last | marks.before
        )

    def after_product(self, call: Call, a: Tensor, b: Tensor, y: Tensor, layer: str | None) -> None:
        """Record that a function product computed y; `layer` is the layer with its weight, if there is one."""
        before = frozenset().union(*(each.last | each.before for each in (self._of(a), self._of(b))))
        last = frozenset([] if layer is None else [layer])
        self._marks[y] = _Marks(self.sees_image(a, b), False, products=frozenset([call]), last=last, before=before)

    def last_layers(self, output: Any) -> set[str]:
        """Layers after which no other layer or product computes an output; none if the output adds results of such
        layers that depend on each other, as in a residual block."""
        marks = [self._of(y) for y in tree_leaves(output) if isinstance(y, Tensor)]
        return {name for each in marks if each.last.isdisjoint(each.before) for name in each.last}

    def _of(self, x: Tensor) -> "_Marks":
        found: _Marks = self._marks.get(x, _NOTHING)
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        before = [self._of(x) for x in inputs]
        # a product of scores and other activations, such as of a softmax gate, is no score; a mask is no factor
        factors = [self._of(x) for x in inputs if x.is_floating_point()]
        scores = any(each.scores for each in factors) and all(each.scores for each in factors if each.image)
        result = func(*args, **kwargs)
        maker = self.product or self._running()
        count, sees_image = self._counts.of_products(func, args, kwargs, result), any(each.image for each in before)
        if count:
            self.functions[maker].add(name_of(func, args))
            self.macs[maker] += count
        elif count is None and sees_image:
            self.uncounted[maker].add(name_of(func, args))
        elif sees_image and isinstance(maker, str) and maker not in self._explained:
            name = str(func._overloadpacket).replace(".", "::")
            self.elements[name, maker] += self._counts.of_elements(func, args, kwargs, result)
        if func._overloadpacket is torch.ops.aten.convolution:
            self.weights |= self._of(args[1]).products
            if self.sees_image(args[1]):
                self.of_images.add(str(maker))
        marks = _union(before, scores)
        if marks.untouched and func.__name__.split(".")[0] in _LOOK_UPS:
            numbers = [x for x in inputs[1:] if not x.is_floating_point()]
            marks = _Marks(True, not self.sees_image(*numbers), scores)
        if func.__name__.split(".")[0].endswith("_") and inputs and inputs[0]._base is not None:
            base = inputs[0]._base  # writing into a view changes its base
            self._marks[base] = _union([self._of(base), marks], scores)
        if func.__name__.split(".")[0] in _SOFTMAX:
            self.softmaxed |= marks.products
            owner = next((call.owner for call in marks.products), self._running().rpartition(".")[0])
            marks = _Marks(marks.image, marks.untouched, True, owner, last=marks.last, before=marks.before)
        if marks is not _NOTHING:
            for output in tree_leaves(result):
                if isinstance(output, Tensor):
                    self._marks[output] = marks
        return result


@dataclass(frozen=True)
class Outside:
    """Multiplications by element that no row of a report has, of numbers that depend on the network's input."""

    count: int
    """Multiplications for one sample."""
    operator: str
    """The operator that makes most of them, such as aten::mul."""
    module: str
    """Full name of the module with most of them; empty for the network itself."""

    def text(self, macs: int) -> str:
        """The line of a report with some multiplications in its rows."""
        where = f"`{self.module}`" if self.module else "the network itself"
        return (
            f"{self.count:,} multiplications in float outside of layers, most in `{self.operator}` of {where}: "
            f"{100 * self.count / (self.count + macs):.2g} % of all multiplications, and in no row"
        )


@dataclass(slots=True, eq=False)
class _Marks:
    """Origin of a tensor."""

    image: bool = False
    untouched: bool = False
    scores: bool = False
    owner: str = ""
    products: frozenset[Call] = frozenset()
    last: frozenset[str] = frozenset()  # layers with no other layer after them
    before: frozenset[str] = frozenset()  # layers before `last`


_NOTHING = _Marks()


def _is_inside(name: str, owner: str) -> bool:
    return not owner or name.startswith(owner + ".")


def _union(marks: list[_Marks], scores: bool) -> _Marks:
    known = [each for each in marks if each is not _NOTHING]
    if not known:
        return _NOTHING
    if all(each is known[0] for each in known) and known[0].scores == scores:
        return known[0]
    images = [each for each in known if each.image]
    return _Marks(
        image=bool(images),
        untouched=bool(images) and all(each.untouched for each in images),
        scores=scores,
        owner=next((each.owner for each in known if each.owner), ""),
        products=frozenset().union(*(each.products for each in known)),
        last=frozenset().union(*(each.last for each in known)),
        before=frozenset().union(*(each.before for each in known)),
    )
