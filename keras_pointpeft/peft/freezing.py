"""What trains under a method, whatever else is said, and what stays frozen.

The latter has a fingerprint, which tells it from other weights.
"""

import hashlib
import re

import numpy as np
from keras import ops

from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import paths_of
from keras_pointpeft.peft.method import weights_of


def freeze(backbone, peft):
    """Sets, variable by variable, what trains under a method.

    The only place where anything is frozen. Layers stay trainable: a layer's
    own flag would also change how it treats the batch.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`, with everything
            trainable that may be.
        peft: its `keras_pointpeft.peft.PeftMethod`, or None: all trains.
    """
    if peft is None:
        return
    every, inside = backbone.trainable_variables, paths_of(backbone)
    trains = [peft.trains(inside.get(id(v), v.path)) for v in every]
    frozen = tuple(v for v, yes in zip(every, trains) if not yes)
    trained = frozenset(v.path for v, yes in zip(every, trains) if yes)
    # Not by plain assignment: Keras would track them as parts of the model.
    object.__setattr__(backbone, "_frozen", frozen)
    object.__setattr__(backbone, "_trained_paths", trained)
    freeze_again(backbone)


def freeze_again(backbone):
    """After something has set everything trainable."""
    for variable in getattr(backbone, "_frozen", ()):
        variable.trainable = False


def trained_paths(backbone):
    """Paths of what trains: as the method says, and as Keras without one.

    Of a method, also what somebody has turned off for a while.
    """
    if backbone.peft is None:
        return {v.path for v in backbone.trainable_variables}
    return backbone._trained_paths


def check_frozen(backbone):
    """Raises ValueError if what a method keeps frozen would train.

    Anybody can tell a layer, a variable or, on torch, a parameter to.
    """
    if backbone.peft is None:
        return
    name = type(backbone.peft).__name__
    found = [v.path for v in backbone._frozen if v.trainable]
    if found:
        raise ValueError(
            f"{found[0]} would train, one of {len(found)} that {name} keeps "
            "frozen; an adapter would not hold it. "
            "`model.trainable = False` and then `model.trainable = True` set "
            "what the method says; "
            "`peft=keras_pointpeft.peft.Full()` trains everything. "
            f"Received: {found[0]} with trainable=True"
        )
    # Only torch's tensors have such a flag.
    found = [
        v.path
        for v in backbone._frozen
        if getattr(v.value, "requires_grad", False)
    ]
    if found:
        raise ValueError(
            f"{found[0]} has `requires_grad=True`, one of {len(found)} that "
            f"{name} keeps frozen, and may have been trained. Hand optimizers "
            "`model.parameters()` as they are, without `requires_grad_`. "
            f"Received: {found[0]} with requires_grad=True"
        )


FINGERPRINT_BYTES = 32
# What the frozen pass of a backbone does not read.
NOT_OF_THE_BASE = "|".join((*WITH_CLASS_TOKEN, "seed_generator"))


def fingerprint(backbone):
    """SHA-256 of the weights that a backbone's frozen pass reads.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`. What a method has
            added to it does not count.

    Returns:
        string, hexadecimal.
    """
    digest = hashlib.sha256()
    weights = weights_of(backbone)
    for path in sorted(weights):
        if re.search(NOT_OF_THE_BASE, path):
            continue
        value = ops.convert_to_numpy(weights[path])
        digest.update(path.encode())
        digest.update(np.ascontiguousarray(value).astype("<f4").tobytes())
    return digest.hexdigest()
