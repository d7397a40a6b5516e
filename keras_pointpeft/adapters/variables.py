"""What an adapter consists of: which of a task's weights, and on which base."""

import hashlib

import keras
import numpy as np

from keras_pointpeft.peft.freezing import check_frozen
from keras_pointpeft.peft.freezing import trained_paths
from keras_pointpeft.peft.method import is_added
from keras_pointpeft.peft.method import paths_of
from keras_pointpeft.peft.method import weights_of


def split_variables(task):
    """Splits a task's weights into the adapter's and the frozen base's.

    Args:
        task: a task with a `backbone`.

    Returns:
        Two dicts from path to variable: what an adapter holds (trained
        variables, all of the head, the statistics of every BatchNorm that
        follows its batches, and the method's own state), and the frozen
        rest.

    Raises:
        ValueError: if two variables have one path.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    adapter, base = keras_pointpeft.adapters.split_variables(model)
    ```
    """
    peft = task.backbone.peft
    follows = peft is None or peft.frozen_bn == "track"
    check_frozen(task.backbone)
    trained = trained_paths(task.backbone)
    of_backbone = {id(v) for v in task.backbone.weights}
    inside = paths_of(task)
    adapter, base = {}, {}
    for variable in task.weights:
        if "seed_generator" in variable.path:
            continue
        path = inside.get(id(variable), variable.path)
        mine = (
            variable.path in trained
            or id(variable) not in of_backbone
            # Statistics of the method's own layers are part of the adapter.
            or ("/moving_" in path and (follows or is_added(path)))
            or (peft is not None and peft.keeps(path))
        )
        part = adapter if mine else base
        if path in part:
            raise ValueError(
                "Two variables share one path, so an adapter cannot tell "
                f"them apart. Received: {path}"
            )
        part[path] = variable
    return adapter, base


def fingerprint(task):
    """SHA-256 of the frozen weights that an adapter relies on.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    keras_pointpeft.adapters.fingerprint(model)  # 64 hexadecimal digits
    ```
    """
    _, base = split_variables(task)
    return base_digest(base)


def base_digest(base):
    """SHA-256 of the base's variables, a dict from their paths."""
    digest = hashlib.sha256()
    for path in sorted(base):
        value = keras.ops.convert_to_numpy(base[path])
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(value).astype("<f4").tobytes())
    return digest.hexdigest()


def kept_paths(task):
    """Paths of what the method keeps without training it."""
    peft = task.backbone.peft
    if peft is None:
        return set()
    return {path for path in weights_of(task.backbone) if peft.keeps(path)}
