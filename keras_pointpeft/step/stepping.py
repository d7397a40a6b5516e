"""A model's steps: what is mixed in, so that they run as this room decides."""

import functools
import inspect

import keras

from keras_pointpeft.step.running import Running
from keras_pointpeft.step.running import why_eager

if keras.config.backend() == "torch":
    import torch


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
    backward pass does not go through a node for each of them; and the masks
    of the step are drawn together.

    Args:
        model: compiled Keras model.
        data: a batch.

    Returns:
        dict of figures.
    """
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    with masks_of(model).step():
        y_pred = model(x, training=True)
    loss = compute_loss(model, x, y, y_pred, weight)
    batch = next(i for i in keras.tree.flatten(x) if i is not None).shape[0]
    model.metrics[0].update_state(loss, sample_weight=batch)
    variables = model.trainable_variables
    if variables:
        loss = model.optimizer.scale_loss(loss)
        values = [variable.value for variable in variables]
        gradients = torch.autograd.grad(loss, values, allow_unused=True)
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
    found = model.__dict__.get("_step_masks")
    if found is None:
        from keras_pointpeft.ops.accelerators.torch_step import StepMasks

        found = StepMasks()
        # Not by plain assignment: Keras would search it for layers to track.
        object.__setattr__(model, "_step_masks", found)
    return found


@functools.cache
def _knows_training(function):
    parameters = inspect.signature(function).parameters.values()
    return any(
        p.name == "training" or p.kind is inspect.Parameter.VAR_KEYWORD
        for p in parameters
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
