"""Fills a model from a state dict, with every tensor accounted for."""

import dataclasses
import re

import keras
import numpy as np

from keras_pointpeft.checkpoints.names import from_reference
from keras_pointpeft.checkpoints.names import to_reference
from keras_pointpeft.peft.method import weights_of

# Marks the name of a tensor that our variable is only a difference to.
DIFFERENCE = "difference to "
SHOWN = 12


@dataclasses.dataclass
class TransferReport:
    """What happened to every tensor of a checkpoint and every variable.

    Attributes:
        used: dict from their name to the path of the variable it filled.
        unused: dict from their name to why it was left out.
        kept: dict from our path to why it keeps its initial value.
        differences: dict from our path to their name of the tensor whose
            difference to the frozen value the variable holds.
    """

    used: dict
    unused: dict
    kept: dict
    differences: dict = dataclasses.field(default_factory=dict)

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
    """A checkpoint and a model do not fit; nothing was loaded.

    Attributes:
        problems: tuple of strings, everything that does not fit; the message
            shows the first of them.
    """

    def __init__(self, message, problems=()):
        super().__init__(message)
        self.problems = tuple(problems)


def fill(
    model,
    state,
    names,
    ignored=None,
    initial=None,
    source="state dict",
    problems=(),
):
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
        problems: strings, what has been found not to fit already.

    Returns:
        A `TransferReport`.

    Raises:
        CheckpointMismatch: naming all that is missing, left over, misshapen
            or not finite.
    """
    ignored = {r"(^|\.)num_batches_tracked$": "counter", **(ignored or {})}
    initial = initial or {}
    values, problems = {}, list(problems)
    used, unused, kept = {}, {}, {}
    targets = weights_of(model)
    for path, variable in targets.items():
        name = names(path)
        if name is None or name not in state:
            reason = _reason(initial, path)
            if reason is None:
                expected = name or "(no published counterpart)"
                problems.append(f"missing: {expected} for {path}")
            else:
                kept[path] = reason
            continue
        used[name] = path
        value, problem = _converted(path, name, state[name], variable.shape)
        if problem is not None:
            problems.append(problem)
        values[path] = value
    for name in state:
        if name in used:
            continue
        reason = _reason(ignored, name)
        if reason is None:
            problems.append(f"unexpected: {name}")
        else:
            unused[name] = reason
    if problems:
        listed = "\n  ".join(problems[:SHOWN])
        rest = len(problems) - SHOWN
        more = f"\n  and {rest} more" if rest > 0 else ""
        raise CheckpointMismatch(
            f"The {source} does not fit this model:\n  {listed}{more}\n"
            f"Received: {len(state)} tensors for a {type(model).__name__}",
            problems,
        )
    for path, value in values.items():
        targets[path].assign(value)
    return TransferReport(used, unused, kept)


def _converted(path, name, value, shape):
    """Their tensor in our shape, and what is wrong with it, or None."""
    found = np.asarray(value)
    expected = tuple(shape)
    # A kernel is a matrix or a point-wise convolution of more axes.
    turned = path.endswith("/kernel") and (
        found.ndim in (2, 3, 4) and all(axis == 1 for axis in found.shape[2:])
    )
    value = from_reference(path, found) if turned else found
    if value.size != int(np.prod(expected)) or (
        path.endswith("/kernel") and value.shape != expected
    ):
        return None, (
            f"shape of {name}: found {found.shape}, "
            f"expected {expected} (ours) for {path}"
        )
    if not np.all(np.isfinite(value)):
        return None, f"NaN or infinity in {name}"
    return value.reshape(expected), None


def fill_layout(
    model,
    state,
    layout,
    ignored=None,
    initial=None,
    source="state dict",
    pretrained=None,
):
    """Fills a model from a file of a published layout.

    Where published code trains a parameter in place and ours a difference to
    the frozen one, both are restored if the pre-trained file is at hand.
    Without it the frozen one becomes the tuned one, and the difference 0.

    Args:
        model: a built model.
        state: dict from their name to numpy array.
        layout: a `keras_pointpeft.checkpoints.layouts.Layout`.
        ignored: see `fill`; beside what the layout says is never read.
        initial: see `fill`.
        source: see `fill`.
        pretrained: optional dict, the pre-trained state dict by the same
            names.

    Returns:
        A `TransferReport`.

    Raises:
        CheckpointMismatch: see `fill`.
    """
    paths = list(weights_of(model))
    known = {layout.names(path) for path in paths}
    state, again, problems = _without_aliases(state, layout, known)
    parts = {path: layout.difference(path) for path in paths}
    parts = {path: name for path, name in parts.items() if name in state}
    for name in parts.values():
        after = np.asarray(state[name])
        before = after
        if pretrained is not None:
            if name not in pretrained:
                problems.append(f"missing in the pre-trained file: {name}")
                continue
            before = np.asarray(pretrained[name])
            if before.shape != after.shape:
                problems.append(
                    f"shape of {name} in the pre-trained file: found "
                    f"{before.shape}, expected {after.shape}"
                )
                continue
        state[name], state[DIFFERENCE + name] = before, after - before

    def names(path):
        name = layout.difference(path)
        return layout.names(path) if name is None else DIFFERENCE + name

    report = fill(
        model,
        state,
        names,
        {**layout.unread, **(ignored or {})},
        {**layout.initial, **(initial or {})},
        source,
        problems,
    )
    report.unused |= again
    report.differences = parts
    for name in parts.values():
        report.used.pop(DIFFERENCE + name, None)
    return report


def _without_aliases(state, layout, known):
    """The state dict with one name per tensor, the others, and problems."""
    plain, again, problems = {}, {}, []
    first = {}
    for name in state:
        other = None if name in known else layout.alias(name)
        if other is not None and (other in known or other in state):
            first[name] = other
    for name, value in state.items():
        other = first.get(name, name)
        if other != name and other in state:
            if np.array_equal(value, state[other]):
                again[name] = "a second name of another tensor"
            else:
                problems.append(f"{name} and {other} should be one tensor")
            continue
        plain[other] = value
    return plain, again, problems


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
