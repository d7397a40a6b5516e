"""Weights from one model to another, by their paths."""

import keras

from keras_pointpeft.peft.freezing import UNKNOWN
from keras_pointpeft.peft.freezing import base_values
from keras_pointpeft.peft.freezing import by_value
from keras_pointpeft.peft.freezing import set_base
from keras_pointpeft.peft.method import is_added
from keras_pointpeft.peft.method import weights_of


def copy_weights(source, target):
    """Copies all weights of a backbone that another one has too.

    What a method adds is copied only between two backbones with the same
    method; with another method, or none, the target gets what the source's
    base had. A backbone with fewer blocks, or without class token as some
    segmentation models have it, takes what it has.

    Args:
        source: a backbone.
        target: a backbone of the same class and width.

    Raises:
        ValueError: if weights are of another shape. Nothing is copied then.
    """
    same = _method(source) == _method(target)
    base = base_values(source)
    before = {} if same or base is None else base
    values = {
        path: before.get(path, variable)
        for path, variable in weights_of(source).items()
        if same or not is_added(path)
    }
    assign_common(values, target)
    if base is None:
        set_base(target, UNKNOWN)
    else:
        set_base(target, base if same else None)


def copy_head(source, target):
    """Copies what a task has beside its backbone to a task with such a head.

    Args:
        source: a task with a `backbone`.
        target: a task with the same arguments.
    """
    assign_common(_beside_the_backbone(source), target)


def assign_common(values, model):
    """Gives a model the values of variables that it has.

    Args:
        values: dict from path to array or variable.
        model: a built model.

    Raises:
        ValueError: for another shape. Nothing is assigned then.
    """
    targets = weights_of(model)
    common = {path: x for path, x in values.items() if path in targets}
    different = [
        f"{path} {tuple(value.shape)} and {tuple(targets[path].shape)}"
        for path, value in common.items()
        if tuple(value.shape) != tuple(targets[path].shape)
    ]
    if different:
        raise ValueError(
            "Weights can only be copied between models of one width. "
            f"Received: {len(different)} of different shapes, such as "
            f"{', '.join(different[:3])}"
        )
    for path, value in common.items():
        targets[path].assign(by_value(value))


def _beside_the_backbone(task):
    of_backbone = {id(variable) for variable in task.backbone.weights}
    return {
        path: variable
        for path, variable in weights_of(task).items()
        if id(variable) not in of_backbone
    }


def _method(backbone):
    return keras.saving.serialize_keras_object(backbone.peft)
