"""What readers and data sets check: files, sizes, clouds that are unusable."""

import os
import warnings

import numpy as np

# Largest array that a reader allocates without being told to.
MAX_BYTES = 16 * 2**30
# Labels of points that are not to be learnt and not to be measured.
UNLABELLED = (-1, 255)
# What readers of one file raise: its content, or a link to nowhere.
UNUSABLE = (ValueError, FileNotFoundError)
# Messages that list many clouds end about here.
_LONGEST = 300


def existing_file(candidates, meaning) -> str:
    """The first of `candidates` that exists.

    Args:
        candidates: paths, in order of preference.
        meaning: string, what such a file is.

    Raises:
        FileNotFoundError: none exists. The message lists all of them.
    """
    for path in candidates:
        if os.path.isfile(path):
            return os.fspath(path)
    tried = "\n".join(f"  {path}" for path in candidates)
    raise FileNotFoundError(
        f"No file of {meaning} was found. Expected one of\n{tried}\n"
        f"Received: {_nearest(candidates[0])}"
    )


def check_choice(what, value, choices):
    """Raises `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"`{what}` must be one of {sorted(choices)}. "
            f"Received: {what}={value!r}"
        )


def check_clouds(points):
    """Raises `ValueError` unless points are `(clouds, points, 3)`."""
    shape = points.shape
    if len(shape) != 3 or shape[2] != 3:
        raise ValueError(
            "`points` must have the shape (clouds, points, 3). "
            f"Received: {shape}"
        )


def check_size(what, shape, dtype, max_bytes=MAX_BYTES):
    """Refuses an array that a header declares, before it is allocated.

    Args:
        what: string, for the message.
        shape: the declared shape.
        dtype: the declared type.
        max_bytes: int, the limit.
    """
    size = np.dtype(dtype).itemsize
    for axis in shape:
        size *= int(axis)
    if size > max_bytes or any(int(axis) < 0 for axis in shape):
        raise ValueError(
            f"{what} declares the shape {tuple(shape)}, {size} bytes, more "
            f"than the limit `max_bytes`={max_bytes}. If the file is right, "
            f"raise the limit. Received: shape {tuple(shape)}"
        )


def allocate(what, shape, max_bytes=MAX_BYTES, storage=None) -> np.ndarray:
    """Room for the points of a data set, in memory or in a file.

    Args:
        what: string, for the message.
        shape: tuple of ints.
        max_bytes: int, the limit, if it is memory.
        storage: optional path of a .npy file, which is written anew.

    Returns:
        float32 array, memory-mapped if it is in a file.
    """
    if storage is None:
        check_size(what, shape, "float32", max_bytes)
        return np.empty(shape, "float32")
    return np.lib.format.open_memmap(
        storage, mode="w+", dtype="float32", shape=tuple(shape)
    )


class BadClouds:
    """Collects the clouds of a source that cannot be used.

    Args:
        source: string, the file or folder.
        on_bad: "raise" or "skip".
        total: int, the number of clouds, if known.
    """

    def __init__(self, source, on_bad="raise", total=None):
        check_choice("on_bad", on_bad, ("raise", "skip"))
        self.source = source
        self.on_bad = on_bad
        self.total = total
        self.found = []

    def add(self, name, reason, path=None):
        """Takes a cloud's name and what is wrong; a path is shortened."""
        if path is not None:
            reason = reason.replace(os.fspath(path), os.path.basename(path))
        self.found.append((str(name), reason))

    def settle(self):
        """Raises, or warns, if a cloud was found bad.

        Raises:
            ValueError: with `on_bad="raise"`. It counts and names the
                clouds.
        """
        if not self.found:
            return
        of = "" if self.total is None else f" of {self.total}"
        source = str(self.source)
        source = source if len(source) < 80 else f"...{source[-76:]}"
        text = f"{len(self.found)}{of} clouds of {source} are unusable"
        if self.on_bad == "raise":
            text += '. Pass `on_bad="skip"` to leave them out. Received: '
            raise ValueError(text + self._shown(_LONGEST - len(text)))
        warnings.warn(
            f"{text} and were skipped: {self._shown(_LONGEST)}", stacklevel=3
        )

    def _shown(self, room):
        """As many entries as there is room for, at least one."""
        entries = [f"{name}: {why}" for name, why in self.found]
        shown = entries[0][: max(room, 120)]
        for entry in entries[1:]:
            if len(shown) + len(entry) + 7 > room:
                return f"{shown}; ..."
            shown += f"; {entry}"
        return shown


def tell_empty(names, present, where):
    """Warns of classes that have no cloud in a part of a set.

    Args:
        names: sequence of strings, the classes.
        present: set of strings, those with clouds.
        where: string, the part.
    """
    empty = [name for name in names if name not in present]
    if empty:
        warnings.warn(
            f"{len(empty)} of {len(names)} classes have no cloud in {where}: "
            f"{', '.join(empty)[:150]}",
            stacklevel=5,
        )


def usable_clouds(points, labels, num_classes, ids, bad) -> np.ndarray:
    """Finds clouds with finite coordinates and a label that exists.

    Args:
        points: array `(clouds, points, 3)`.
        labels: integer array `(clouds,)`, or None.
        num_classes: int.
        ids: sequence of names for messages, or None for the position.
        bad: `BadClouds`, which receives the others.

    Returns:
        Mask `(clouds,)`.
    """
    keep = np.ones(len(points), bool)
    for index in range(len(points)):
        name = index if ids is None else ids[index]
        # The sum is finite if every value is, save for an overflow.
        if not np.isfinite(points[index].sum(dtype="float64")):
            wrong = ~np.isfinite(points[index]).all(axis=-1)
            bad.add(name, f"{int(wrong.sum())} points with NaN or infinity")
            keep[index] = False
        elif labels is not None and not 0 <= labels[index] < num_classes:
            bad.add(
                name, f"label {labels[index]} outside of 0..{num_classes - 1}"
            )
            keep[index] = False
    return keep


def check_dataset(dataset):
    """Raises `ValueError` for arguments of a data set that do not fit.

    Args:
        dataset: `PointCloudDataset`, with its arguments as attributes.
    """
    shape = dataset.points.shape
    check_clouds(dataset.points)
    if 0 in shape:
        raise ValueError(
            "`points` must hold at least one cloud and point. "
            f"Received: shape {shape}"
        )
    for what in ("labels", "weights"):
        value = getattr(dataset, what)
        if value is not None and value.shape[:1] != shape[:1]:
            raise ValueError(
                f"`{what}` must have one entry for each of the "
                f"{shape[0]} clouds. Received: shape {value.shape}"
            )
    if dataset.channels is not None and (
        dataset.channels.shape[:2] != shape[:2] or dataset.channels.ndim != 3
    ):
        raise ValueError(
            f"`channels` must have the shape {(*shape[:2], 'channels')}. "
            f"Received: {dataset.channels.shape}"
        )
    if dataset.point_labels is not None:
        if dataset.point_labels.shape != shape[:2]:
            raise ValueError(
                f"`point_labels` must have the shape {shape[:2]}. "
                f"Received: {dataset.point_labels.shape}"
            )
    elif dataset.labels is None:
        if dataset.weights is not None:
            raise ValueError("`weights` need `labels`. Received: labels=None")
    elif dataset.labels.shape[1:2] == shape[1:2]:
        raise ValueError(
            "`labels` with one entry for each point must be given as "
            "`point_labels`, to be sampled like the points. "
            f"Received: labels of shape {dataset.labels.shape}"
        )
    if dataset.batch_size < 1 or (
        dataset.drop_last and dataset.batch_size > shape[0]
    ):
        raise ValueError(
            "`batch_size` must leave at least one batch of the "
            f"{shape[0]} clouds. Received: {dataset.batch_size}"
        )
    if dataset.even and dataset.drop_last:
        raise ValueError(
            "Batches are either even or complete. "
            "Received: even=True, drop_last=True"
        )
    labels = None if dataset.labels is None else dataset.labels.shape
    one_each = labels is not None and len(labels) == 1
    if dataset.balanced and not (dataset.shuffle and one_each):
        raise ValueError(
            "`balanced` needs `shuffle=True` and one label for each cloud. "
            f"Received: shuffle={dataset.shuffle}, labels of shape {labels}"
        )
    if not isinstance(dataset.seed, (int, np.integer)) or dataset.seed < 0:
        raise ValueError(
            f"`seed` must be an integer from 0. Received: {dataset.seed!r}"
        )


def _nearest(path):
    """Says how much of a missing path exists."""
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    names = sorted(os.listdir(folder))
    listed = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"{folder} with {listed if names else 'nothing'}"
