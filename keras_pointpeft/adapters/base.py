"""The base under an adapter, as it was before training.

A method adds to a backbone, and changes a little of what is there: the class
token, as a rule, biases, statistics that follow the batch. A backbone keeps
what these were, in memory and in its weights files, from the moment its
weights come in, so that it does not matter what trains it afterwards.
"""

import contextlib
import pathlib
from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_pointpeft.peft.method import is_added
from keras_pointpeft.peft.method import weights_of

# A model whose file does not say what its method has changed.
UNKNOWN = "unknown"
# How many numbers of a variable tell it from another one.
NUMBERS = 16
# Among a backbone's assets.
BASE_FILE = "base.npz"


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
        or peft.keeps(path)
    }


@dataclass
class _Memory:
    """What a method changes of a base, and which base that was.

    Weights come in by many doors, Keras' and torch's own among them, which
    ask nobody. So the memory knows a few numbers of everything that the
    method leaves alone: it holds for as long as these are the same.

    Attributes:
        values: dict from path to array.
        frozen: dict from path to some numbers of what the method leaves
            alone; None while they are still being loaded.
        added: the same of what the method added, if that was still as drawn.
        noted: bool. Whether anybody has asked since.
    """

    values: dict
    frozen: dict | None
    added: dict
    noted: bool = False


def remember_base(task):
    """Says that what a task's backbone has now is the base's own.

    Only needed where weights came in past this library, by `set_weights`
    or by hand, and were those of a backbone that no method has trained. What
    is known already stays.

    Args:
        task: a task with a `backbone`.
    """
    if base_values(task.backbone) is None:
        set_base(task.backbone)


def note_base(backbone):
    """Takes note of weights that came in, before something trains them."""
    memory = backbone._base_memory
    if memory is not None and not memory.noted:
        base_values(backbone)


def set_base(backbone, values=None, loading=False):
    """Says what the method of a backbone has changed.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`.
        values: dict from path to the array that was there; None if what is
            there now is the base's own; `UNKNOWN` if nobody knows.
        loading: bool. Whether the rest of the weights is still to come.
    """
    if backbone.peft is None:
        return
    if values is None:
        values = copies(changed_variables(backbone))
        memory = _Memory(values, *_marks(backbone))
    elif isinstance(values, dict):
        memory = _Memory(values, None, {})
        if not loading:
            memory.frozen, _ = _marks(backbone)
    else:
        memory = _Memory({}, {}, {})
    # Past Keras, which would save it with the model.
    object.__setattr__(backbone, "_base_memory", memory)


def base_values(backbone):
    """What a method has changed of the base, as it was.

    Args:
        backbone: a `keras_pointpeft.models.PointBackbone`.

    Returns:
        A dict from path to array. None if it is not known.
    """
    if not changed_variables(backbone):
        return {}
    memory = backbone._base_memory
    memory.noted = True
    frozen, added = _marks(backbone)
    if memory.frozen is None:
        memory.frozen = frozen
    if _same(frozen, memory.frozen):
        return memory.values
    if memory.added and _same(added, memory.added):
        # Other weights were loaded and have not been trained since: they are
        # the new base.
        set_base(backbone)
        return backbone._base_memory.values
    return None


def _marks(backbone):
    """A few numbers of each variable: of the frozen and of the added ones."""
    changed = changed_variables(backbone)
    keeps = backbone.peft.keeps
    frozen, added = {}, {}
    for path, variable in weights_of(backbone).items():
        if path in changed or keeps(path):
            continue
        value = np.ravel(ops.convert_to_numpy(variable))
        few = value[:: max(1, value.size // NUMBERS)].copy()
        (added if is_added(path) else frozen)[path] = few
    return frozen, added


def _same(marks, others):
    return marks.keys() == others.keys() and all(
        np.array_equal(value, others[path]) for path, value in marks.items()
    )


def save_base(backbone, store):
    """Writes `base_values` where a backbone saves its own variables."""
    for i, value in enumerate((base_values(backbone) or {}).values()):
        store[f"{i}"] = value


def load_base(backbone, store):
    """Reads what `save_base` wrote.

    A file without it leaves the memory as it is: it may be the base's own.
    """
    paths = list(changed_variables(backbone))
    values = [np.array(store[f"{i}"]) for i in range(len(store.keys()))]
    if paths and len(values) == len(paths):
        set_base(backbone, dict(zip(paths, values)), loading=True)


def write_base(backbone, folder):
    """Writes what `save_base` does as a file among a backbone's assets.

    Some of Keras' ways to save a model, Orbax for one, have assets but not
    what a layer saves by itself.
    """
    values = {}
    save_base(backbone, values)
    if values:
        np.savez(pathlib.Path(folder) / BASE_FILE, **values)


def read_base(backbone, folder):
    """Reads what `write_base` wrote, if it did."""
    path = pathlib.Path(folder) / BASE_FILE
    if path.is_file():
        with np.load(path) as store:
            load_base(backbone, store)


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
            "The weights came from where nobody says what the base's own "
            f"were, of {sorted(changed_variables(backbone))}; load the base "
            "by itself, with `peft=None`. Before training, "
            "`adapters.remember_base` says that they are the base's. "
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
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    with keras_pointpeft.adapters.disable_adapters(model) as base:
        tokens = base(points)["patch_tokens"]
    ```
    """
    yield base_backbone(task.backbone)
