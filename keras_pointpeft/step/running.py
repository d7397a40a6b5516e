"""How a step of a model runs: as it is, as one CUDA graph, or as recorded.

The one place that decides it. On torch a step (forward, loss, backward,
clipping, optimizer, moving statistics and metrics; or a prediction) is kept
after it ran three times with the same shapes, and then replayed, without
layers and nodes of autograd: on a GPU as one CUDA graph, on a CPU as the list
of its operators.
"""

import contextlib
import functools
import inspect
import threading
import weakref

import keras
import numpy as np
from absl import logging

from keras_pointpeft.ops import replicas
from keras_pointpeft.ops.accelerators import allowed

if keras.config.backend() == "torch":
    import torch

    from keras_pointpeft.ops.accelerators.torch_step import Constants
    from keras_pointpeft.ops.accelerators.torch_step import Outputs
    from keras_pointpeft.ops.accelerators.torch_step import StepFolds
    from keras_pointpeft.ops.accelerators.torch_step import StepMasks

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
        reason = why_eager(self._model())
        leaves = [] if reason else keras.tree.flatten(data)
        arrays = [_as_tensor(leaf) for leaf in leaves]
        known = all(
            array is not None or leaf is None
            for array, leaf in zip(arrays, leaves)
        )
        if reason or not known:
            return self.function(data)
        key = self._key(data, arrays)
        with self._lock:
            entry = self.entries.get(key)
            if entry is None:
                entry = self.entries[key] = _Entry(self._too_many())
            if entry.reason is not None:
                return self.function(data)
            with _counted(self._model(), key[2]):
                return entry.run(self, data, arrays)

    def _key(self, data, arrays):
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
        self.outputs = Outputs()

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
        from keras_pointpeft.step import cuda_graph
        from keras_pointpeft.step import recorded

        model = running._model()
        on_gpu = _device(model).type == "cuda"
        outputs = Outputs()

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
        # Keras takes longer to find them than to look where they are.
        self.values = [v.value for v in self.variables]
        self.places = [x.data_ptr() for x in self.values]
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
        places = [x.data_ptr() for x in self.values]
        return self._holds() and places == self.places


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
    if tensor.device.type != "cpu" or not torch.cuda.is_available():
        return tensor
    return tensor.pin_memory()


class Stepping:
    """Mixed into a Keras model before it; see `keras_pointpeft.step_report`.

    On torch, `fit`, `evaluate`, `predict` and the functions for one batch
    replay each step after it ran three times with the same shapes: on a GPU as
    one CUDA graph, on a CPU as the list of its operators.
    `compile(run_eagerly=True)`, or the environment with
    `KERAS_POINTPEFT_DISABLE=cudagraph,recording`, turns that off.
    """

    def make_train_function(self, force=False):
        return self._make("train", super().make_train_function, force)

    def make_test_function(self, force=False):
        return self._make("test", super().make_test_function, force)

    def make_predict_function(self, force=False):
        return self._make("predict", super().make_predict_function, force)

    def _make(self, kind, make, force):
        made = make(force)
        name = f"{kind}_function"
        function = getattr(self, name)
        if keras.config.backend() != "torch":
            return made
        if isinstance(function, Running):
            function.refresh()
        else:
            setattr(self, name, Running(self, kind, function))
        return made

    def train_step(self, *args, **kwargs):
        if keras.config.backend() != "torch":
            return super().train_step(*args, **kwargs)
        return torch_step(self, *args, **kwargs)


def step_report(model) -> dict:
    """How the steps of a model run, as far as they ran.

    Args:
        model: a task or a model for pre-training.

    Returns:
        dict from `"train"`, `"test"` and `"predict"` to a list of dicts, one
        for each shape of a batch: `"shapes"`, `"runs"` (`"graph"` on a GPU,
        `"recorded"` on a CPU, `"eager"`, or `"warming up"` while the first
        steps run as they are) and `"why"`, a string, for what is eager. A
        model none of whose steps are kept, as on other backends, has one such
        dict under `"all"`.

    Example:

    >>> keras_pointpeft.step_report(model)
    {'all': [{'shapes': None, 'runs': 'eager', 'why': 'the backend is jax'}]}
    """
    reason = why_eager(model)
    if reason is not None:
        return {"all": [{"shapes": None, "runs": "eager", "why": reason}]}
    report = {}
    for kind in ("train", "test", "predict"):
        running = getattr(model, f"{kind}_function", None)
        if isinstance(running, Running):
            report[kind] = running.report()
    return report


def torch_step(model, data):
    """As Keras' own step, with as little around it as it needs.

    Gradients are asked for and not kept with the variables, so that the
    backward pass does not go through a node for each of them; the masks of
    the step are drawn together, and so is made what its norms take in.

    Args:
        model: compiled Keras model.
        data: a batch.

    Returns:
        dict of figures.
    """
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    variables = model.trainable_variables
    with _kept_for(model, "_step_folds", StepFolds).step():
        with masks_of(model).step():
            y_pred = model(x, training=True)
        loss = compute_loss(model, x, y, y_pred, weight)
        batch = next(i for i in keras.tree.flatten(x) if i is not None).shape[0]
        model.metrics[0].update_state(loss, sample_weight=batch)
        if variables:
            scaled = model.optimizer.scale_loss(loss)
            values = [variable.value for variable in variables]
            gradients = torch.autograd.grad(scaled, values, allow_unused=True)
    if variables:
        with torch.no_grad():
            model.optimizer.apply(list(gradients), variables)
    return model.compute_metrics(x, y, y_pred, sample_weight=weight)


def compute_loss(model, x, y, y_pred, weight):
    """The loss; a model's own function for it may not know `training`."""
    known = {}
    if _knows_training(type(model).compute_loss):
        known["training"] = True
    return model.compute_loss(
        x=x, y=y, y_pred=y_pred, sample_weight=weight, **known
    )


def masks_of(model):
    """The `StepMasks` of a model."""
    return _kept_for(model, "_step_masks", StepMasks)


def _kept_for(model, name, make):
    """What one step of a model leaves for the next."""
    found = model.__dict__.get(name)
    if found is None:
        found = make()
        # Not by plain assignment: Keras would search it for layers to track.
        object.__setattr__(model, name, found)
    return found


@functools.cache
def _knows_training(function):
    parameters = inspect.signature(function).parameters.values()
    return any(
        p.name == "training" or p.kind is inspect.Parameter.VAR_KEYWORD
        for p in parameters
    )


def check_jit(jit_compile):
    """Raises ValueError where compiling whole steps takes for ever."""
    if jit_compile is True and keras.config.backend() == "torch":
        raise ValueError(
            "`jit_compile=True` unrolls the choice of patch centres on torch "
            "and does not finish in minutes. Leave it out: torch has kernels "
            "for it, see `ops.accelerator_report()`; tensorflow and jax "
            "compile whole steps. Received: jit_compile=True on torch"
        )


def check_not_compiled():
    """Raises ValueError within a function that torch is compiling.

    A program that is exported is no such function.
    """
    compiler = torch.compiler
    if compiler.is_dynamo_compiling() and not compiler.is_exporting():
        _refuse()


def _refuse():
    raise ValueError(
        "A step of this model takes `torch.compile` many minutes. "
        "Compile the model around it with `jit_compile=False`. By itself it "
        "is fast without, see `keras_pointpeft.step_report`. "
        "Received: a call from a compiled function"
    )


if keras.config.backend() == "torch":
    # The compiler leaves it alone, and so calls it: what is raised while it
    # reads a function makes it give that up, and go on with those inside.
    _refuse = torch.compiler.disable(_refuse)
