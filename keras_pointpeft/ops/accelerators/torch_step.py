"""torch: what a step takes besides its batch, and what it returns.

Keras makes tensors of Python's numbers and of arrays wherever it meets some,
several times in a step. On a GPU each is a copy that the host waits for, and
that a graph cannot hold. Within `Constants` they stay on the device. What a
step returns is read from there once, when it is asked for: `Outputs`.

A mask takes a few operations however small it is, and a step has dozens:
`StepMasks` draws them together. They come from the default generator of the
device, which a captured graph moves on by itself.

A norm that is frozen takes in the scale and the shift behind it. That is two
operations on a few numbers, and two more for their gradients, for each of two
dozen norms: `StepFolds` makes them together, as lists that one operation works
on.

Keras seeds a generator of the host with the state of a
`keras.random.SeedGenerator`, for which it waits for the device; a captured
step could not do so. Here the numbers of such a seed are a function of that
state and of their place: [SplitMix64](https://doi.org/10.1145/2714064.2660195),
the same on every device.
"""

from contextlib import contextmanager

import keras
import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from keras_pointpeft.ops.plain import SHUT

_MAKERS = {torch.as_tensor, torch.tensor, torch.asarray}
_NUMBERS = (bool, int, float, complex)
# Values of a mask up to which it is drawn with others of other rates.
SMALL = 2**12
# Of SplitMix64.
GOLDEN = 0x9E3779B97F4A7C15
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)
# Bits of a float32 in [0, 1).
BITS = 24

# The `Constants` of the steps that run now, innermost last.
_ACTIVE = []
# Where masks are taken from now, innermost last.
SOURCES = []
# The `StepFolds` of the steps that run now, innermost last.
_FOLDS = []


class NewConstant(RuntimeError):
    """An array was met first while a graph was captured."""


class Constants(TorchFunctionMode):
    """Within it, the same number or array is the same tensor each time.

    Nothing may write into such a tensor; Keras does not, as it could be the
    memory of the array.

    Args:
        fixed: bool. Whether nothing may be copied to the device any more.

    Attributes:
        made: dict of the tensors, which another instance may go on with.
        copies: int, how many of them were copied from the host.
    """

    def __init__(self, made=None, fixed=False):
        super().__init__()
        self.made = {} if made is None else made
        self.fixed = fixed
        self.copies = 0

    def __enter__(self):
        _ACTIVE.append(self)
        return super().__enter__()

    def __exit__(self, *error):
        _ACTIVE.pop()
        return super().__exit__(*error)

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in _MAKERS and args and not _is_tensor(args[0]):
            return self._constant(function, args, kwargs)
        return function(*args, **kwargs)

    def _constant(self, function, args, kwargs):
        value, dtype = args[0], kwargs.get("dtype")
        device = torch.device(kwargs.get("device") or "cpu")
        if isinstance(value, _NUMBERS):
            key = (type(value), repr(value), dtype, device)
        else:
            array = np.asarray(value)
            if array.dtype == object:
                return function(*args, **kwargs)
            content = (array.dtype.str, array.shape, array.tobytes())
            key = (type(value), content, dtype, device)
        found = self.made.get(key)
        if found is not None:
            return found
        if self.fixed:
            if not isinstance(value, _NUMBERS):
                raise NewConstant(
                    "An array that no step before had becomes a tensor. "
                    f"Received: an array of shape {array.shape}"
                )
            # One kernel, without a copy. It is memory of the graph, and so
            # nothing to keep.
            dtype = dtype or torch.tensor(value).dtype
            return torch.full((), value, dtype=dtype, device=device)
        made = function(*args, **kwargs)
        if not isinstance(value, _NUMBERS) and made.device.type == "cpu":
            made = made.clone()  # not the memory of an array that may change
        self.copies += made.device.type != "cpu"
        self.made[key] = made
        return made


@contextmanager
def again():
    """The innermost `Constants`, where PyTorch has left it.

    A function that is handed to such a mode runs outside of it, and
    `torch.autograd.grad` is one: what a backward pass computes again would
    make its constants anew.
    """
    if not _ACTIVE:
        yield
        return
    with Constants(_ACTIVE[-1].made, _ACTIVE[-1].fixed):
        yield


def _is_tensor(value):
    return isinstance(value, torch.Tensor) or (
        isinstance(value, (list, tuple))
        and any(isinstance(x, torch.Tensor) for x in value)
    )


def dropout_mask(shape, rate, like):
    """Zeros with probability `rate`, else `1 / (1 - rate)`.

    Args:
        shape: tuple of ints.
        rate: float in `[0, 1)`.
        like: tensor with the type and the device of the mask.

    Returns:
        tensor of that shape, without a gradient. Nothing may write into it.
    """
    if like.device.type == "meta":
        return torch.ones(shape, dtype=like.dtype, device="meta")
    with torch.no_grad():
        return taken(SOURCES, shape, rate, like)


def dropout_gate(shape, rate, like):
    """`SHUT` with probability `rate`, else infinity; see `dropout_mask`."""
    if like.device.type == "meta":
        return torch.ones(shape, dtype=like.dtype, device="meta")
    with torch.no_grad():
        return taken(SOURCES, shape, rate, like, gate=True)


def seeded_mask(shape, rate, like, generator):
    """The same from a `keras.random.SeedGenerator`, which moves on."""
    if like.device.type == "meta":
        return torch.ones(shape, dtype=like.dtype, device="meta")

    def draw():
        kept = uniform(shape, generator) >= rate
        return kept.to(like.dtype) / (1.0 - rate)

    with torch.no_grad():
        return taped(SOURCES, draw)


def uniform(shape, generator):
    """Numbers of [0, 1), float32; moves the generator on.

    Args:
        shape: tuple of ints.
        generator: `keras.random.SeedGenerator`.
    """
    state = generator.next().to(torch.int64)
    shape = torch.Size(shape)
    place = torch.arange(1, shape.numel() + 1, device=state.device)
    start = _mixed(_mixed(state[0]) + state[1])
    bits = _mixed(start + place * _signed(GOLDEN))
    bits = _shifted(bits, 64 - BITS)
    return (bits.to(torch.float32) * 2.0**-BITS).view(shape)


def _mixed(x):
    for shift, factor in zip(SHIFTS, FACTORS):
        x = (x ^ _shifted(x, shift)) * _signed(factor)
    return x ^ _shifted(x, SHIFTS[-1])


def _shifted(x, by):
    """Without the sign, which `>>` would copy."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _signed(number):
    """The int64 with the bits of an unsigned one."""
    return number - 2**64 if number >= 2**63 else number


def draw_mask(shape, rate, like, gate=False):
    mask = torch.empty(shape, dtype=like.dtype, device=like.device)
    mask.bernoulli_(1.0 - rate)
    return _gates(mask > 0, mask.dtype) if gate else mask.div_(1.0 - rate)


def _gates(kept, dtype):
    """A gate for each value that is kept or not."""
    shut = torch.full_like(kept, SHUT, dtype=dtype)
    return shut.masked_fill_(kept, float("inf"))


class StepMasks:
    """The masks of the steps of one model.

    A step that asks for the masks that one before asked for, in the same
    order, gets parts of one draw.
    """

    def __init__(self):
        # By the first mask of a step, so that batches of several sizes each
        # have their own.
        self._plans = {}
        self._asked, self._pool = [], None

    @contextmanager
    def step(self):
        """Around the forward pass of a step."""
        self._asked, self._pool = [], None
        SOURCES.append(self)
        try:
            yield
        finally:
            SOURCES.remove(self)
            self._pool = None
            if self._asked:
                plan = self._plans.get(self._asked[0])
                if plan is None or plan.keys != self._asked:
                    self._plans[self._asked[0]] = _Plan(self._asked)

    def known(self):
        """What steps have asked for, for `expect`: lists that JSON can hold.

        A process that goes on with a run draws its first masks together, as
        the one before it did.
        """
        return [
            [
                [list(shape), rate, str(dtype).removeprefix("torch."), gate]
                for shape, rate, dtype, _, gate in plan.keys
            ]
            for plan in self._plans.values()
        ]

    def expect(self, known, device):
        """Takes on what another process has come to know."""
        for keys in known:
            keys = [
                # States of before there were gates do not name them.
                (tuple(shape), rate, getattr(torch, dtype), device, any(gate))
                for shape, rate, dtype, *gate in keys
            ]
            self._plans[keys[0]] = _Plan(keys)

    def take(self, shape, rate, like, gate=False):
        place = len(self._asked)
        key = (tuple(shape), rate, like.dtype, like.device, gate)
        self._asked.append(key)
        plan = self._plans.get(self._asked[0])
        if plan is None or plan.keys[place : place + 1] != [key]:
            return draw_mask(shape, rate, like, gate)
        if self._pool is None:
            self._pool = plan.draw()
        return self._pool[place]

    def keep(self, draw):
        return draw()


class _Plan:
    """Masks that are drawn together.

    Args:
        keys: list of their shapes, rates, types, devices and whether they
            are gates.
    """

    def __init__(self, keys):
        self.keys = keys
        self.kinds = {}
        for place, (shape, rate, *others) in enumerate(keys):
            count = torch.Size(shape).numel()
            kind = (None if count <= SMALL else rate, *others)
            self.kinds.setdefault(kind, []).append((place, count))
        self.chances = {}

    def draw(self):
        """A list of masks."""
        found = [None] * len(self.keys)
        for kind, members in self.kinds.items():
            rate, dtype, device, gate = kind
            counts = [count for _, count in members]
            drawn = torch.rand(sum(counts), device=device)
            keep = self._chances(kind, members) if rate is None else 1.0 - rate
            kept = drawn < keep
            drawn = _gates(kept, dtype) if gate else kept.to(dtype) / keep
            for (place, _), part in zip(members, drawn.split(counts)):
                found[place] = part.view(self.keys[place][0])
        return found

    def _chances(self, kind, members):
        if kind not in self.chances:
            _, dtype, device, _ = kind
            values = [
                1.0 - self.keys[place][1]
                for place, count in members
                for _ in range(count)
            ]
            self.chances[kind] = torch.as_tensor(
                values, dtype=dtype, device=device
            )
        return self.chances[kind]


def taken(sources, shape, rate, like, gate=False):
    if sources:
        return sources[-1].take(shape, rate, like, gate)
    return draw_mask(shape, rate, like, gate)


def taped(sources, draw):
    if sources:
        return sources[-1].keep(draw)
    return draw()


def folded(gamma, beta, scale, shift):
    """Scale and shift of a norm together with those behind it.

    Args:
        gamma: tensor `(channels,)`, the norm's own scale, without a gradient.
        beta: likewise, its shift.
        scale: tensor `(channels,)`, what follows the norm.
        shift: likewise.

    Returns:
        tuple of `gamma * scale` and `beta * scale + shift`.
    """
    tensors = (gamma, beta, scale, shift)
    known = _FOLDS[-1].ask(tensors) if _FOLDS else None
    return _Fold.apply(*tensors) if known is None else known


class StepFolds:
    """The pairs that the steps of one model ask for.

    What a step asked for is there when the next one begins.
    """

    def __init__(self):
        # By the tensors' ids, which are theirs as long as they are kept here.
        self._asked, self._made = {}, {}

    @contextmanager
    def step(self):
        """Around a step, forward and backward."""
        expected, self._asked = self._asked, {}
        # Now, and not within a block: what that computes again must not
        # depend on whether it is the first one.
        if expected:
            lists = zip(*expected.values())
            pairs = _Fold.apply(*(x for tensors in lists for x in tensors))
            half = len(expected)
            self._made = dict(zip(expected, zip(pairs[:half], pairs[half:])))
        _FOLDS.append(self)
        try:
            yield
        finally:
            _FOLDS.remove(self)
            self._made = {}

    def ask(self, tensors):
        """The pair if it was expected, or None."""
        key = tuple(map(id, tensors))
        # Of others, which are made anew each time, nothing is to be expected.
        if all(x.is_leaf for x in tensors):
            self._asked[key] = tensors
        return self._made.get(key)


class _Fold(torch.autograd.Function):
    """For several norms: all `gamma`, all `beta`, all `scale`, all `shift`."""

    @staticmethod
    def forward(ctx, *tensors):
        gammas, betas, scales, shifts = _quarters(tensors)
        ctx.save_for_backward(*gammas, *betas)
        return (
            *torch._foreach_mul(gammas, scales),
            *torch._foreach_addcmul(shifts, betas, scales),
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *gradients):
        half = len(gradients) // 2
        to_scale, to_shift = gradients[:half], gradients[half:]
        gammas, betas = ctx.saved_tensors[:half], ctx.saved_tensors[half:]
        to_scale = torch._foreach_mul(to_scale, gammas)
        torch._foreach_addcmul_(to_scale, to_shift, betas)
        return (*(None,) * (2 * half), *to_scale, *to_shift)


def _quarters(tensors):
    count = len(tensors) // 4
    return [tensors[i * count : (i + 1) * count] for i in range(4)]


class Outputs:
    """What a step returns, as a list of tensors, and back again.

    Figures become one tensor, so that reading them takes one copy.
    """

    def flat(self, outputs):
        leaves = [
            x.detach() if isinstance(x, torch.Tensor) else x
            for x in keras.tree.flatten(outputs)
        ]
        self.tensors = [isinstance(x, torch.Tensor) for x in leaves]
        self.figures = all(self.tensors) and all(x.dim() == 0 for x in leaves)
        # Tensors would keep memory of the graph, or its nodes.
        self.leaves = [
            None if is_ else x for is_, x in zip(self.tensors, leaves)
        ]
        self.structure = keras.tree.pack_sequence_as(outputs, self.leaves)
        if self.figures and leaves:
            return [torch.stack([x.to(torch.float32) for x in leaves])]
        return [x for is_, x in zip(self.tensors, leaves) if is_]

    def wrap(self, tensors):
        if self.figures and tensors:
            values = _Values(tensors[0])
            leaves = [Figure(values, i) for i in range(len(tensors[0]))]
        else:
            found = iter(tensors)
            leaves = [
                next(found) if is_ else x
                for is_, x in zip(self.tensors, self.leaves)
            ]
        return keras.tree.pack_sequence_as(self.structure, leaves)


class _Values:
    """Figures of one step, read from the device once, when one is asked for."""

    def __init__(self, tensor):
        self.tensor = tensor
        self.numbers = None

    def __getitem__(self, number):
        if self.numbers is None:
            self.numbers = self.tensor.tolist()
        return self.numbers[number]


class Figure:
    """A number that may still be on the device; `float` waits for it."""

    def __init__(self, values, number):
        self._values = values
        self._number = number

    def __float__(self):
        return self._values[self._number]

    def item(self):
        return float(self)

    numpy = item

    def __array__(self, dtype=None, copy=None):
        return np.asarray(float(self), dtype)

    def __repr__(self):
        return repr(float(self))

    def __format__(self, spec):
        return format(float(self), spec)
