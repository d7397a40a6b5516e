"""The base under an adapter, as it was before training.

A method adds to a backbone, and changes a little of what is there: the class
token, as a rule, biases, statistics that follow the batch. A backbone keeps
what these were, in memory and in its weights files.
"""

import contextlib

import numpy as np
from keras import ops

from keras_pointpeft.peft.paths import is_added
from keras_pointpeft.peft.paths import weights_of

# A model whose file does not say what its method has changed.
UNKNOWN = "unknown"


def by_value(variable):
    """A variable's value as an array that nothing else can change.

    On jax, training gives the arrays of a model away.
    """
    return np.array(ops.convert_to_numpy(variable))


def copies(variables):
    """A dict's variables, by value."""
    return {path: by_value(variable) for path, variable in variables.items()}


def own_variables(backbone):
    """Path to variable of all that a method did not add to a backbone."""
    weights = weights_of(backbone)
    return {path: x for path, x in weights.items() if not is_added(path)}


def changed_variables(backbone):
    """Path to variable of what a method changes of the base."""
    peft = backbone.peft
    if peft is None or peft.replaces_base:
        return {}
    follows = peft.frozen_bn == "track"
    own = own_variables(backbone)
    return {
        path: own[path]
        for path in sorted(own)
        if (follows if "/moving_" in path else peft.trains(path))
    }


def remember_base(task):
    """Keeps what a method is about to change of the base.

    Training, loading and adding adapters call this; call it before a training
    loop of your own. Only the first call for a backbone keeps anything, and
    none for a method that trains all of it.

    Args:
        task: a task with a `backbone`.
    """
    backbone = task.backbone
    if _kept(backbone) is None:
        set_base(backbone, copies(changed_variables(backbone)))


def set_base(backbone, values):
    """Says what the method of a backbone has changed.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`.
        values: dict from path to the array that was there; None if what is
            there now is the base's own; `UNKNOWN` if nobody knows.
    """
    # Past Keras, which would save it with the model.
    object.__setattr__(backbone, "_base_values", values)


def _kept(backbone):
    return getattr(backbone, "_base_values", None)


def base_values(backbone):
    """What a method has changed of the base, as it was.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`.

    Returns:
        A dict from path to array. None if it is not known.
    """
    kept = _kept(backbone)
    if isinstance(kept, dict):
        return kept
    changed = changed_variables(backbone)
    return None if kept == UNKNOWN and changed else copies(changed)


def save_base(backbone, store):
    """Writes `base_values` where a backbone saves its own variables."""
    for i, value in enumerate((base_values(backbone) or {}).values()):
        store[f"{i}"] = value


def load_base(backbone, store):
    """Reads what `save_base` wrote."""
    paths = list(changed_variables(backbone))
    values = [np.array(store[f"{i}"]) for i in range(len(store.keys()))]
    known = len(values) == len(paths)
    set_base(backbone, dict(zip(paths, values)) if known else UNKNOWN)


def base_backbone(backbone):
    """The backbone without its method, with the base's own weights.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone` with a method.

    Returns:
        A new backbone of the same class, with `peft=None`.

    Raises:
        ValueError: if the base is not there any more.
    """
    peft = backbone.peft
    if peft is not None and peft.replaces_base:
        raise ValueError(
            f"{type(peft).__name__} changes the backbone itself, so its base "
            "is not there any more; load it again. "
            f"Received: peft={type(peft).__name__}"
        )
    if base_values(backbone) is None:
        raise ValueError(
            "The weights came from a file that does not say what the base's "
            f"own were, of {sorted(changed_variables(backbone))}; load the "
            "base by itself, with `peft=None`. "
            f"Received: peft={type(peft).__name__}"
        )
    return backbone.clone(peft=None)


@contextlib.contextmanager
def disable_adapters(task):
    """Gives the base under an adapter, for as long as it is needed.

    Its outputs are, bit for bit, those of the backbone before a method joined
    it. It is a backbone of its own, beside the tuned one: for as long as it
    is kept, the base is in memory twice. The head belongs to the adapter, so
    it is the backbone alone.

    Args:
        task: a task with a `backbone`.

    Raises:
        ValueError: if the method changed all of the backbone, or the weights
            came from a file that does not say what it changed.

    Example:
    ```python
    with model.disable_adapters() as base:
        tokens = base(points)["patch_tokens"]
    ```
    """
    yield base_backbone(task.backbone)
