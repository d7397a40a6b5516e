"""How a step of a model runs: as it is, as one CUDA graph, or as recorded.

The one place that decides it. On torch a step (forward, loss, backward,
clipping, optimizer, moving statistics and metrics; or a prediction) is kept
after it ran three times with the same shapes, and then replayed, without
layers and nodes of autograd: on a GPU as one CUDA graph, on a CPU as the list
of its operators.
"""

import contextlib
import threading
import weakref

import keras
import numpy as np
from absl import logging

from keras_pointpeft.ops import replicas
from keras_pointpeft.ops.accelerators import allowed

# Steps of the same shapes before one is kept. The first makes constants, the
# second the masks that are drawn together, the third is looked at.
WARM_UP = 3
# Steps that a model keeps of each kind.
MAX_GRAPHS = 8
# The switch that turns it off, and what a step then does not become.
_WAYS = {"cuda": ("cudagraph", "graph"), "cpu": ("recording", "recorded")}
# A variable of each model, which says where the model is.
_FIRST = weakref.WeakKeyDictionary()


class Running:
    """One kind of steps of a model.

    Args:
        model: compiled Keras model.
        kind: `"train"`, `"test"` or `"predict"`.
        function: Keras' own, from a list of one batch to a nest of tensors.
    """

    def __init__(self, model, kind, function):
        self._model = weakref.ref(model)
        self.kind = kind
        self.function = function
        self.entries = {}
        self.constants = {}
        # A kept step has one place for its input: threads that serve one
        # model take turns.
        self._lock = threading.RLock()

    def __call__(self, data):
        import torch

        reason = why_eager(self._model())
        leaves = [] if reason else keras.tree.flatten(data)
        arrays = [_as_tensor(leaf) for leaf in leaves]
        known = all(
            array is not None or leaf is None
            for array, leaf in zip(arrays, leaves)
        )
        if reason or not known:
            return self.function(data)
        key = self._key(data, arrays, torch)
        with self._lock:
            entry = self.entries.get(key)
            if entry is None:
                entry = self.entries[key] = _Entry(self._too_many())
            if entry.reason is not None:
                return self.function(data)
            with _counted(self._model(), key[2]):
                return entry.run(self, data, arrays)

    def _key(self, data, arrays, torch):
        model = self._model()
        return (
            str(keras.tree.map_structure(lambda x: None, data)),
            tuple(None if a is None else (a.shape, a.dtype) for a in arrays),
            None if self.kind != "train" else phase(model),
            torch.backends.cuda.matmul.allow_tf32,
            torch.is_autocast_enabled("cuda"),
            torch.is_autocast_enabled("cpu"),
        )

    def _too_many(self):
        graphs = sum(entry.graph is not None for entry in self.entries.values())
        if graphs < MAX_GRAPHS:
            return None
        return f"steps of {MAX_GRAPHS} other shapes are kept"

    def report(self):
        """A list for `keras_pointpeft.step_report`."""
        found = []
        _, kept = _WAYS[_device(self._model()).type]
        for (_, shapes, *_), entry in self.entries.items():
            runs = "warming up" if entry.graph is None else kept
            shapes = [tuple(x[0]) for x in shapes if x is not None]
            row = {"shapes": shapes, "runs": runs}
            if entry.reason is not None:
                row.update(runs="eager", why=entry.reason)
            found.append(row)
        return found

    def refresh(self):
        """Forgets steps whose variables are no longer where they were."""
        for key, entry in list(self.entries.items()):
            if entry.graph is not None and not entry.lasts():
                del self.entries[key]


class _Entry:
    """Steps of one signature.

    Attributes:
        calls: int, how many ran as they are.
        graph: what is replayed, or None.
        reason: string, why there is none and will be none; or None.
    """

    def __init__(self, reason):
        self.calls = 0
        self.graph = None
        self.reason = reason

    def run(self, running, data, arrays):
        if self.graph is not None and not self._holds():
            self.graph, self.calls = None, 0
        if self.graph is None:
            if self.calls < WARM_UP:
                return self._warm_up(running, data, arrays)
        for static, array in zip(self.inputs, present(arrays)):
            static.copy_(_pinned(array), non_blocking=True)
        if self.graph is None:
            return self._keep(running, data, arrays)
        return self.outputs.wrap([x.clone() for x in self.graph()])

    def _warm_up(self, running, data, arrays):
        from keras_pointpeft.ops.accelerators.torch_step import Constants
        from keras_pointpeft.step import cuda_graph
        from keras_pointpeft.step import recorded

        model = running._model()
        device = _device(model)
        if self.calls == 0:
            self.inputs = [
                _pinned(a).to(device, copy=True) for a in present(arrays)
            ]
        else:
            for static, array in zip(self.inputs, present(arrays)):
                static.copy_(_pinned(array), non_blocking=True)
        self.calls += 1
        last = self.calls == WARM_UP
        looking = recorded.Forbidden() if last else contextlib.nullcontext()
        listing = contextlib.nullcontext()
        if last and device.type == "cpu":
            listing = recorded.Recording(self.inputs)
        self.outputs = _Outputs()

        def step(inputs):
            with Constants(running.constants), looking, listing:
                return self.outputs.flat(
                    running.function(_filled(data, arrays, inputs))
                )

        if device.type == "cuda":
            found = cuda_graph.on_side_stream(step, self.inputs)
        else:
            found = step(self.inputs)
        if last:
            self.lasting = getattr(listing, "lasting", None)
            self._refuse(model, running.kind, looking.reason())
        return self.outputs.wrap(found)

    def _keep(self, running, data, arrays):
        from keras_pointpeft.ops.accelerators.torch_step import Constants
        from keras_pointpeft.step import cuda_graph
        from keras_pointpeft.step import recorded

        model = running._model()
        on_gpu = _device(model).type == "cuda"
        outputs = _Outputs()

        def step(inputs):
            with Constants(running.constants, fixed=on_gpu):
                return outputs.flat(
                    running.function(_filled(data, arrays, inputs))
                )

        try:
            if on_gpu:
                graph = cuda_graph.Graph(step, self.inputs)
            else:
                graph = recorded.Recorded(step, self.inputs, self.lasting)
        except cuda_graph.CaptureFailed as error:
            self._refuse(model, running.kind, str(error))
            return running.function(data)
        found = outputs.wrap([x.clone() for x in graph()])
        self.lasting = None
        if graph.reason is not None:
            self._refuse(model, running.kind, graph.reason)
            return found
        self.graph, self.outputs = graph, outputs
        self.variables = model.variables
        self.trains = _trains(self.variables)
        self.places = [v.value.data_ptr() for v in self.variables]
        return found

    def _refuse(self, model, kind, reason):
        if reason is None:
            return
        self.reason, self.inputs, self.lasting = reason, None, None
        logging.log(
            # On a CPU there is less to be had.
            logging.WARNING
            if _device(model).type == "cuda"
            else logging.INFO,
            "The %s step of %s runs as it is, and is not kept: %s",
            kind,
            model.name,
            reason,
        )

    def _holds(self):
        """Whether it may be replayed: what trains may change within `fit`."""
        return self.graph.valid and self.trains == _trains(self.variables)

    def lasts(self):
        """The same when a function is made again, where there is more time."""
        places = [v.value.data_ptr() for v in self.variables]
        return self._holds() and places == self.places


class _Outputs:
    """What a step returns, as a list of tensors, and back again.

    Figures become one tensor, so that reading them takes one copy.
    """

    def flat(self, outputs):
        import torch

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


def why_eager(model):
    """Why no step of a model is kept, or None."""
    if keras.config.backend() != "torch":
        return f"the backend is {keras.config.backend()}"
    if model.jit_compile:
        return "it is compiled with `jit_compile=True`"
    if model.run_eagerly:
        return "it is compiled with `run_eagerly=True`"
    if replicas.count() > 1:
        return "several processes exchange gradients within a step"
    device = _device(model).type
    if device not in _WAYS:
        return f"it is on the device {device!r}"
    kind, _ = _WAYS[device]
    return None if allowed(kind) else f"{kind!r} is turned off"


def phase(model):
    """A number of batches after which the next does what it does now.

    Of several that make an update, all but the last do the same.
    """
    optimizer = model.optimizer
    every = getattr(optimizer, "gradient_accumulation_steps", None)
    batches = getattr(optimizer, "batches", None) if every else None
    updates = batches is not None and (batches + 1) % every == 0
    return every - 1 if updates else 0


def _counted(model, number):
    """Around a step of an optimizer that may have to know the phase."""
    # What was never compiled, and only predicts, has none.
    optimizer = getattr(model, "optimizer", None)
    counted = getattr(optimizer, "counted", None)
    return contextlib.nullcontext() if counted is None else counted(number)


def _trains(variables):
    return [variable.trainable for variable in variables]


def present(arrays):
    return [array for array in arrays if array is not None]


def _device(model):
    # Collecting all variables takes milliseconds, which each step would wait.
    variable = _FIRST.get(model)
    if variable is None:
        variable = _FIRST[model] = model.variables[0]
    return variable.value.device


def _filled(data, arrays, inputs):
    """The batch with tensors of the device in place of what it had."""
    found = iter(inputs)
    leaves = [None if array is None else next(found) for array in arrays]
    return keras.tree.pack_sequence_as(data, leaves)


def _as_tensor(leaf):
    """A leaf of a batch; None for None and for what cannot be a tensor."""
    import torch

    if isinstance(leaf, torch.Tensor):
        return leaf
    if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fiub":
        try:
            return torch.from_numpy(np.ascontiguousarray(leaf))
        except TypeError:  # such as uint16, of which torch knows little
            return None
    return None


def _pinned(tensor):
    """A copy of a host's tensor that a GPU can fetch by itself."""
    import torch

    if tensor.device.type != "cpu" or not torch.cuda.is_available():
        return tensor
    return tensor.pin_memory()
