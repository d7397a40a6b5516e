"""Fills a model from a state dict, with every tensor accounted for."""

import dataclasses
import re

import keras
import numpy as np

from keras_pointpeft.checkpoints.names import from_reference
from keras_pointpeft.peft.paths import weights_of


@dataclasses.dataclass
class TransferReport:
    """What happened to every tensor of a checkpoint and every variable.

    Attributes:
        used: dict from their name to the path of the variable it filled.
        unused: dict from their name to why it was left out.
        kept: dict from our path to why it keeps its initial value.
    """

    used: dict
    unused: dict
    kept: dict

    def __str__(self):
        lines = [f"{len(self.used)} tensors used"]
        for title, entries in (
            ("tensors left out", self.unused),
            ("variables kept at their initial value", self.kept),
        ):
            lines.append(f"{len(entries)} {title}")
            reasons = {}
            for name, reason in entries.items():
                reasons.setdefault(reason, []).append(name)
            lines += [
                f"  {reason}: {names[0]}"
                + (f" and {len(names) - 1} more" if names[1:] else "")
                for reason, names in reasons.items()
            ]
        return "\n".join(lines)


class CheckpointMismatch(ValueError):
    """A checkpoint and a model do not fit; nothing was loaded."""


def fill(model, state, names, ignored=None, initial=None, source="state dict"):
    """Fills all weights of a model from a published state dict.

    Nothing is assigned unless everything fits.

    Args:
        model: a built model or layer.
        state: dict from their name to numpy array.
        names: `NameMap`, or any callable from our path to their name.
        ignored: dict from a regular expression on their names to the reason
            why such a tensor is left out.
        initial: dict from a regular expression on our paths to the reason
            why such a variable may keep its initial value.
        source: what the errors call the state dict.

    Returns:
        A `TransferReport`.

    Raises:
        CheckpointMismatch: naming what is missing, left over or misshapen.
    """
    ignored = {r"(^|\.)num_batches_tracked$": "counter", **(ignored or {})}
    initial = initial or {}
    values, problems = {}, []
    used, unused, kept = {}, {}, {}
    for path, variable in weights_of(model).items():
        name = names(path)
        if name is None or name not in state:
            reason = _reason(initial, path)
            if reason is None:
                expected = name or "(no published counterpart)"
                problems.append(f"missing: {expected} for {path}")
            else:
                kept[path] = reason
            continue
        found = np.asarray(state[name])
        # A kernel is a matrix or a point-wise convolution of more axes.
        turned = path.endswith("/kernel") and (
            found.ndim in (2, 3, 4)
            and all(axis == 1 for axis in found.shape[2:])
        )
        value = from_reference(path, found) if turned else found
        expected = tuple(variable.shape)
        if value.size != int(np.prod(expected)) or (
            path.endswith("/kernel") and value.shape != expected
        ):
            problems.append(
                f"shape of {name}: found {found.shape}, "
                f"expected {expected} (ours) for {path}"
            )
            continue
        if not np.all(np.isfinite(value)):
            problems.append(f"NaN or infinity in {name}")
            continue
        used[name] = path
        values[path] = value.reshape(expected)
    for name in state:
        if name in used:
            continue
        reason = _reason(ignored, name)
        if reason is None:
            problems.append(f"unexpected: {name}")
        else:
            unused[name] = reason
    if problems:
        listed = "\n  ".join(problems[:12])
        more = f"\n  and {len(problems) - 12} more" if problems[12:] else ""
        raise CheckpointMismatch(
            f"The {source} does not fit this model:\n  {listed}{more}\n"
            f"Received: {len(state)} tensors for a {type(model).__name__}"
        )
    targets = weights_of(model)
    for path, value in values.items():
        targets[path].assign(value)
    return TransferReport(used, unused, kept)


def export(model, entries, names):
    """Writes a model's weights in the layout of a published state dict.

    Args:
        model: a built model or layer.
        entries: iterable of `(name, shape, dtype)` of the published layout.
        names: `NameMap` that was used to read that layout.

    Returns:
        dict from their name to numpy array.

    Raises:
        CheckpointMismatch: if the model has nothing for one of the entries.
    """
    from keras_pointpeft.checkpoints.names import to_reference

    by_name = {names(p): (p, v) for p, v in weights_of(model).items()}
    state = {}
    for name, shape, dtype in entries:
        if name.endswith("num_batches_tracked"):
            state[name] = np.zeros(shape, dtype)
            continue
        if name not in by_name:
            raise CheckpointMismatch(
                f"The model has nothing to write to {name}. "
                f"Received: a {type(model).__name__}"
            )
        path, variable = by_name[name]
        value = keras.ops.convert_to_numpy(variable)
        state[name] = to_reference(path, value, shape).astype(dtype)
    return state


def _reason(rules, name):
    for pattern, reason in rules.items():
        if re.search(pattern, name):
            return reason
    return None
