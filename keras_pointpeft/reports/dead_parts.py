"""Parts of a trained model that do nothing, in words."""

import re

import keras
import numpy as np

from keras_pointpeft.training.live_parts import ZERO
from keras_pointpeft.training.live_parts import shut

_GATES = ("gate", "alpha", "gamma", "scale")


def dead_parts(model, shares=None):
    """Says which parts of a model add nothing to what it computes.

    Args:
        model: a task.
        shares: optional dict, as `keras_pointpeft.training.live_shares`
            gives, of some clouds.

    Returns:
        list of sentences, empty if everything is at work.
    """
    told = [
        f"{_place(f'/{block}/{part}')} is 0 for every token, so that it adds "
        "nothing."
        for block, part in shut(shares or {})
    ]
    for variable in model.trainable_variables:
        if not _carries(variable):
            continue
        value = np.asarray(keras.ops.convert_to_numpy(variable), "float32")
        if np.abs(value).max(initial=0) < ZERO:
            effect = "so that it passes nothing on"
            if "gate" in _name(variable):
                effect = "a gate that is shut: what is behind it adds nothing"
            place = _place(variable.path)
            told.append(f"{place} is 0 everywhere, {effect}.")
    return told


def bank_in_words(nearest, entries):
    """How much of a bank is used.

    Args:
        nearest: int array `(clouds, k)`, the entries that some clouds read.
        entries: int, how many the bank has.

    Returns:
        string.
    """
    used = len(np.unique(nearest))
    text = (
        f"{len(nearest)} clouds read {used:,} of the bank's {entries:,} entries"
    )
    if used <= nearest.shape[1] and len(nearest) > 1 and entries > used:
        return text + ": all of them the same, so that the bank tells little."
    return text + "."


def _carries(variable):
    """Whether nothing passes where it is 0: a kernel or a gate, no bias."""
    name = _name(variable)
    if any(part in name for part in _GATES):
        return True
    return len(variable.shape) > 1 and "bias" not in name


def _name(variable):
    return variable.path.rsplit("/", 1)[-1]


def _place(path):
    """A variable's path for a reader, such as "Block 3: adapter, up"."""
    words = [word for word in path.split("/")[1:] if word]
    match = re.search(r"(^|/)block_(\d+)/(.*)", path)
    if match:
        rest = match[3].replace("tuner/", "").replace("_", " ")
        return f"Block {int(match[2]) + 1}: {rest.replace('/', ', ')}"
    return ", ".join(words).replace("_", " ") or path
