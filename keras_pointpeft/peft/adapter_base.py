"""The base under an adapter, as it was before training."""

import contextlib
import re

import numpy as np
from keras import ops

from keras_pointpeft.peft.method import ADDED


def own_variables(backbone):
    """Path to variable of all that a method did not add to a backbone."""
    return {
        variable.path: variable
        for variable in backbone.weights
        if "seed_generator" not in variable.path
        and not re.search(ADDED, variable.path)
    }


def remember_base(task):
    """Keeps what a method is about to change of the base.

    That is the class token, as a rule, and statistics that follow the batch.
    Training, loading and adding adapters call this; call it before a training
    loop of your own. Only the first call for a backbone keeps anything, and
    none for a method that trains all of it.

    Args:
        task: a task with a `backbone`.
    """
    backbone = task.backbone
    peft = backbone.peft
    if peft is None or peft.replaces_base or base_values(backbone) is not None:
        return
    follows = peft.frozen_bn == "track"
    values = {
        path: np.array(ops.convert_to_numpy(variable))
        for path, variable in own_variables(backbone).items()
        if variable.trainable or (follows and "/moving_" in path)
    }
    # Past Keras, which would save it with the model.
    object.__setattr__(backbone, "_base_values", values)


def base_values(backbone):
    """What `remember_base` kept, a dict from path to array, or None."""
    return getattr(backbone, "_base_values", None)


def base_backbone(backbone):
    """The backbone without its method, with the base's own weights.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone` with a method.

    Returns:
        A new backbone of the same class, with `peft=None`.
    """
    peft = backbone.peft
    if peft is not None and peft.replaces_base:
        raise ValueError(
            f"{type(peft).__name__} changes the backbone itself, so its base "
            "is not there any more; load it again. "
            f"Received: peft={type(peft).__name__}"
        )
    arguments = {
        name: getattr(backbone, name) for name in backbone.config_names
    }
    plain = type(backbone)(**arguments, dtype=backbone.dtype_policy)
    before = base_values(backbone) or {}
    now = own_variables(backbone)
    for path, variable in own_variables(plain).items():
        value = before.get(path)
        variable.assign(now[path].numpy() if value is None else value)
    return plain


@contextlib.contextmanager
def disable_adapters(task):
    """Gives the base under an adapter, for as long as it is needed.

    Its outputs are, bit for bit, those of the backbone before a method joined
    it. What the method had changed of the base is as it was before the first
    training of this model object; see `remember_base`. The head belongs to
    the adapter, so it is the backbone alone.

    Args:
        task: a task with a `backbone`.

    Example:
    ```python
    with model.disable_adapters() as base:
        tokens = base(points)["patch_tokens"]
    ```
    """
    yield base_backbone(task.backbone)
