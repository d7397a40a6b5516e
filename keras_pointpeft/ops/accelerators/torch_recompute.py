"""torch: recomputation that gives the host little to do.

`torch.utils.checkpoint`, which `keras.remat` takes, minds compilers, contexts
and nesting, and checks what it computed again. For a few operations at a time
that costs more than the operations.
"""

from contextlib import ExitStack
from contextlib import contextmanager
from contextlib import nullcontext
from contextlib import suppress

import torch

from keras_pointpeft.ops.accelerators.torch_step import SOURCES
from keras_pointpeft.ops.accelerators.torch_step import again
from keras_pointpeft.ops.accelerators.torch_step import draw_mask
from keras_pointpeft.ops.accelerators.torch_step import taken
from keras_pointpeft.ops.accelerators.torch_step import taped


class Recomputed:
    """`function`, of which the backward pass keeps the inputs alone.

    Args:
        function: from tensors, or nests of them, to a nest of tensors.
        states: None if it draws nothing at random. Else a list of tensors
            that the function moves on in place, such as seeds: if there are
            any, it may also draw from torch's generators. Masks of
            `torch_step` need no state: they are kept.
        plain: the same by `keras.remat`, for `torch.compile`.
    """

    def __init__(self, function, states, plain):
        self.function = function
        self.states = states
        self.plain = plain

    def __call__(self, *inputs):
        if torch.compiler.is_compiling():
            return self.plain(*inputs)
        if not torch.is_grad_enabled():
            return self.function(*inputs)
        call = _Call(self, inputs)
        with (
            torch.autograd.graph.saved_tensors_hooks(call.pack, call.unpack),
            call.tape.written() if call.tape else nullcontext(),
        ):
            outputs = self.function(*inputs)
        if call.count:
            call.inputs = _Inputs(inputs)
        return outputs


class Remade:
    """`use(make(x))`, which keeps `x` and not what is made of it.

    Args:
        make: from a tensor to one, without anything random.
        use: from that tensor to a nest of tensors and None.
    """

    def __init__(self, make, use):
        self.make = make
        self.use = use

    def __call__(self, x):
        made = self.make(x)
        if torch.compiler.is_compiling() or not made.requires_grad:
            return made, self.use(made)
        storage, cast = made.untyped_storage().data_ptr(), _autocast()

        def pack(tensor):
            if tensor.untyped_storage().data_ptr() != storage:
                return tensor.detach()
            return tensor.size(), tensor.stride(), tensor.storage_offset()

        def unpack(kept):
            if isinstance(kept, torch.Tensor):
                return kept
            with again(), _cast_as(cast), torch.no_grad():
                return self.make(x).as_strided(*kept)

        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            return made, self.use(made)


class _Call:
    """Numbers what the graph of a call would keep, to compute it again."""

    def __init__(self, owner, inputs):
        self.function = owner.function
        # Kept once it is known that there is something to compute again.
        self.inputs = None
        self.random = _Random(owner.states, inputs) if owner.states else None
        # If other layers draw random numbers here too, all of them must draw
        # again, in the same order.
        taped = owner.states is not None
        self.tape = Tape(fresh=bool(owner.states)) if taped else None
        self.autocast = _autocast()
        self.count = 0
        self.values = {}

    def pack(self, tensor):
        self.count += 1
        return self.count

    def unpack(self, number):
        if number not in self.values:
            self._run()
        return self.values.pop(number)

    def _run(self):
        self.values = {}
        drawn = nullcontext() if self.random is None else self.random.again()
        with (
            again(),
            drawn,
            self.tape.read() if self.tape else nullcontext(),
            _cast_as(self.autocast),
            torch.enable_grad(),
            torch.autograd.graph.saved_tensors_hooks(self._keep, _same),
            suppress(_Enough),
        ):
            self.function(*self.inputs.get())

    def _keep(self, tensor):
        number = len(self.values) + 1
        self.values[number] = tensor.detach()
        # Once the last tensor that was kept has been made again, the rest of
        # the function need not run.
        if number == self.count:
            raise _Enough


class Tape:
    """The masks of a function that will run again.

    Example:
    ```python
    tape = Tape()
    with tape.written():
        first = function(x)
    with tape.read():
        second = function(x)  # with the same masks
    ```

    Args:
        fresh: bool. Whether nothing is kept, and each mask is drawn when it is
            asked for, both times.
    """

    def __init__(self, fresh=False):
        self._masks = []
        self._fresh = fresh

    def written(self):
        return _source(_Fresh() if self._fresh else _Writer(self._masks))

    def read(self):
        return _source(_Fresh() if self._fresh else _Reader(self._masks))


@contextmanager
def _source(source):
    SOURCES.append(source)
    try:
        yield
    finally:
        SOURCES.remove(source)


class _Writer:
    """Keeps what another source, or a draw, gives."""

    def __init__(self, masks):
        self.masks = masks

    def take(self, shape, rate, like, gate=False):
        found = taken(self._before(), shape, rate, like, gate)
        self.masks.append(found)
        return found

    def keep(self, draw):
        found = taped(self._before(), draw)
        self.masks.append(found)
        return found

    def _before(self):
        return SOURCES[: SOURCES.index(self)]


class _Fresh:
    def take(self, shape, rate, like, gate=False):
        return draw_mask(shape, rate, like, gate)

    def keep(self, draw):
        return draw()


class _Reader:
    def __init__(self, masks):
        self.masks = iter(list(masks))

    def take(self, shape, rate, like, gate=False):
        return next(self.masks)

    def keep(self, draw):
        return next(self.masks)


def _autocast():
    """How each kind of device casts now, if at all."""
    return [
        (kind, torch.get_autocast_dtype(kind))
        for kind in ("cpu", "cuda")
        if torch.is_autocast_enabled(kind)
    ]


@contextmanager
def _cast_as(wanted):
    """The casting of the forward pass, whatever is around the backward one."""
    with ExitStack() as stack:
        if _autocast() != wanted:
            dtypes = dict(wanted)
            for kind in ("cpu", "cuda"):
                stack.enter_context(
                    torch.autocast(
                        kind, dtypes.get(kind), enabled=kind in dtypes
                    )
                )
        yield


def _same(tensor):
    return tensor


class _Enough(Exception):
    pass


class _Inputs:
    """Keeps tensors as an operation would, so that others' hooks see them."""

    def __init__(self, inputs):
        self.rest = [None if isinstance(x, torch.Tensor) else x for x in inputs]
        self.places = [
            i for i, x in enumerate(inputs) if isinstance(x, torch.Tensor)
        ]
        with torch.enable_grad():
            self.kept = _Keep.apply(_ANCHOR, *(inputs[i] for i in self.places))

    def get(self):
        inputs = list(self.rest)
        for i, tensor in zip(self.places, self.kept.grad_fn.saved_tensors):
            inputs[i] = tensor
        return inputs


class _Keep(torch.autograd.Function):
    @staticmethod
    def forward(context, anchor, *tensors):
        context.save_for_backward(*tensors)
        return anchor

    @staticmethod
    def backward(context, gradient):
        raise AssertionError("Nothing depends on this output.")


# Makes the output of `_Keep` one that has a gradient.
_ANCHOR = torch.empty(0, requires_grad=True)


class _Random:
    """Remembers states and random generators as they are now."""

    def __init__(self, states, inputs):
        self.states = states
        self.devices = {
            x.device
            for x in inputs
            if isinstance(x, torch.Tensor) and x.is_cuda
        }
        self.before = self._read()

    @contextmanager
    def again(self):
        now = self._read()
        self._write(self.before)
        try:
            yield
        finally:
            self._write(now)

    def _read(self):
        return (
            [state.detach().clone() for state in self.states],
            torch.get_rng_state(),
            {d: torch.cuda.get_rng_state(d) for d in self.devices},
        )

    def _write(self, found):
        values, generator, generators = found
        with torch.no_grad():
            for state, value in zip(self.states, values):
                state.copy_(value)
        torch.set_rng_state(generator)
        for device, generator in generators.items():
            torch.cuda.set_rng_state(generator, device)
