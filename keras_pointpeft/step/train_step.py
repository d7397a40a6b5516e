"""torch: one training step, with as little around it as it needs."""

import functools
import inspect

import keras
import torch

from keras_pointpeft.ops.accelerators.torch_step import StepMasks


def train_step(model, data):
    """As Keras' own step.

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
    """Raises ValueError within a function that is being compiled.

    A program that is exported is no such function.
    """
    compiler = torch.compiler
    if compiler.is_dynamo_compiling() and not compiler.is_exporting():
        _refuse()


# The compiler leaves it alone, and so calls it: what is raised while it reads
# a function makes it give that function up, and go on with those inside.
@torch.compiler.disable
def _refuse():
    raise ValueError(
        "A step of this model takes `torch.compile` many minutes. "
        "Compile the model around it with `jit_compile=False`. By itself it "
        "is fast without, see `keras_pointpeft.step_report`. "
        "Received: a call from a compiled function"
    )
