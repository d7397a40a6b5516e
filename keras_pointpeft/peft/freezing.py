"""What trains under a method, whatever else is said, and what stays frozen.

The latter has a fingerprint, which tells it from other weights.

A method adds to a backbone, and changes a little of what is there: the class
token, as a rule, biases, statistics that follow the batch. A backbone keeps
what these were, in memory and in its weights files, from the moment its
weights come in, so that it does not matter what trains it afterwards.
"""

import hashlib
import pathlib
import re
from dataclasses import dataclass

import numpy as np
from keras import ops

from keras_pointpeft.peft.method import WITH_CLASS_TOKEN
from keras_pointpeft.peft.method import is_added
from keras_pointpeft.peft.method import paths_of
from keras_pointpeft.peft.method import weights_of

FINGERPRINT_BYTES = 32
# What the frozen pass of a backbone does not read.
NOT_OF_THE_BASE = "|".join((*WITH_CLASS_TOKEN, "seed_generator"))
# A model whose file does not say what its method has changed.
UNKNOWN = "unknown"
# How many numbers of a variable tell it from another one.
NUMBERS = 16
# Among a backbone's assets.
BASE_FILE = "base.npz"


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
