"""Own clouds in h5 files, in the layout of ScanObjectNN's."""

import os
import warnings

import numpy as np

from keras_pointpeft.data.beside import WIDTHS
from keras_pointpeft.data.beside import Beside
from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import BadClouds
from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.checks import check_size
from keras_pointpeft.data.checks import existing_file
from keras_pointpeft.data.checks import tell_empty
from keras_pointpeft.data.clouds import draw
from keras_pointpeft.data.formats.content import CHANNEL_ARRAYS
from keras_pointpeft.data.formats.content import Content
from keras_pointpeft.data.h5_files import checked
from keras_pointpeft.data.h5_files import open_h5
from keras_pointpeft.data.h5_files import read_array
from keras_pointpeft.data.h5_files import read_class_names
from keras_pointpeft.data.h5_files import read_part
from keras_pointpeft.data.h5_files import read_strings
from keras_pointpeft.data.normalization import prepared
from keras_pointpeft.data.splits import Split
from keras_pointpeft.files.progress import telling

# What files of a split begin with.
PREFIXES = {"train": ("training", "train"), "test": ("test",)}


@telling("reading clouds")
def load_h5(
    data_dir,
    split: str = "train",
    class_names=None,
    on_bad: str = "raise",
    max_bytes: int = MAX_BYTES,
    normalize: bool | None = None,
    num_points: int | None = None,
    seed: int = 0,
    channels=(),
    color_range: float | None = None,
) -> Split:
    """Loads own data in the layout of ScanObjectNN's h5 files.

    `training_objectdataset.h5` and `test_objectdataset.h5` (or `train.h5`,
    `val.h5`, `test.h5`) with `data` `(clouds, points, 3)`, `label`
    `(clouds,)`, optionally `id` `(clouds,)`, `pid` `(clouds, points)` for
    part labels, and the attribute `class_names`, a JSON list.

    Args:
        data_dir: string, a folder, or one h5 file.
        split: "train", "val" or "test"; ignored for a file.
        class_names: sequence of strings. Defaults to the attribute
            `class_names`; without one the labels are named by their number.
        on_bad, max_bytes: see `load_scanobjectnn`.
        normalize: bool, centre each cloud and scale it to the unit sphere.
            Defaults to None: files whose clouds are there already are left as
            they are, others are normalised, with a warning.
        num_points: int, a random choice of so many points of each cloud, made
            as it is read: a set of large clouds then takes no more memory
            than what is chosen of it. Defaults to None, all points.
        seed: int, of the choice.
        channels: sequence of "colors" (data set `colors`, `color` or `rgb`),
            "normals" (`normals` or `normal`) and "intensity", all `(clouds,
            points, ...)`, for a backbone with so many `extra_channels`.
        color_range: optional float, the number of the brightest colour where
            these are no bytes. Defaults to None: 1, 255 or 65535, by the
            brightest of all clouds of the file. Another split is given that
            of the first, `train.source["color_range"]`.

    Returns:
        `Split`.

    Raises:
        ValueError: damaged files, or channels that are not there.

    Example:

    ```python
    import keras_pointpeft

    test = keras_pointpeft.data.load_h5("my_clouds", split="test")
    ```
    """
    path = os.fspath(data_dir)
    if not os.path.isfile(path):
        check_choice("split", split, (*PREFIXES, "val"))
        names = [
            f"{prefix}{ending}"
            for prefix in PREFIXES.get(split, (split,))
            for ending in ("_objectdataset.h5", ".h5")
        ]
        path = existing_file(
            [os.path.join(data_dir, name) for name in names],
            f'h5 clouds, split "{split}"',
        )
    name = os.path.basename(path)
    loaded = read_h5(
        path,
        class_names,
        name,
        on_bad,
        max_bytes,
        normalize,
        num_points,
        seed,
        channels,
        color_range,
    )
    present = {loaded.class_names[label] for label in loaded.labels}
    tell_empty(loaded.class_names, present, path)
    return loaded


def read_h5(
    path,
    class_names,
    name,
    on_bad="raise",
    max_bytes=MAX_BYTES,
    normalize=False,
    num_points=None,
    seed=0,
    channels=(),
    color_range=None,
):
    """Reads one h5 file with `data` and `label` into a `Split`; see `load_h5`.

    Given is the file itself; by default its clouds are left as they are.
    """
    collected = Beside(channels, color_range)
    with open_h5(path) as file:
        clouds, chosen = _read_clouds(
            path, file, num_points, seed, max_bytes
        )
        labels = read_array(file, "label", kinds="iu", max_bytes=max_bytes)
        names = class_names or read_class_names(file)
        ids = parts = None
        if "id" in file:
            ids = read_strings(file, "id", len(clouds), max_bytes)
        if "pid" in file:
            parts = read_array(
                file, "pid", file["data"].shape[:2], "iu", max_bytes
            ).astype("int32")
            if chosen is not None:
                parts = np.take_along_axis(parts, chosen, axis=1)
        beside, brightest = _read_beside(
            path, file, channels, chosen, max_bytes
        )
    if labels.shape not in ((len(clouds),), (len(clouds), 1)):
        raise ValueError(
            f"{path}: 'label' must have one entry for each of the "
            f"{len(clouds)} clouds. Received: shape {labels.shape}"
        )
    labels = labels.reshape(-1).astype("int64")
    if names is None:
        names = tuple(str(i) for i in range(int(labels.max(initial=-1)) + 1))
    if normalize is None:
        normalize = _choose(path, clouds)
    # In place, where float32 is what the file has.
    points = clouds if clouds.dtype == "float32" else None
    if points is None:
        points = np.empty(clouds.shape, "float32")
    bad = BadClouds(path, on_bad, len(clouds))
    keep = np.ones(len(clouds), bool)
    for index, cloud in enumerate(clouds):
        try:
            if not 0 <= labels[index] < len(names):
                raise ValueError(
                    f"label {labels[index]} outside of 0..{len(names) - 1}"
                )
            points[index] = prepared(cloud, normalize)
            own = {name: rows[index] for name, rows in beside.items()}
            collected.add(Content(cloud, **own), brightest=brightest[index])
        except ValueError as error:
            bad.add(index if ids is None else ids[index], str(error))
            keep[index] = False
    bad.settle()
    more = np.stack(collected.settle()) if channels and keep.any() else None
    if not keep.all():
        points, labels = points[keep], labels[keep]
        ids = None if ids is None else tuple(np.array(ids)[keep])
        parts = None if parts is None else parts[keep]
    return Split(
        points,
        labels,
        names,
        ids,
        name,
        parts,
        source=collected.source or None,
        channels=more,
    )


def _read_beside(path, file, channels, chosen, max_bytes):
    """Channels of the points, and the brightest colour of each cloud.

    Returns:
        A dict of `(clouds, points, ...)`, of the chosen points alone; and for
        each cloud the largest number of its colours, None where all of its
        points are read or it has none.
    """
    found, brightest = {}, [None] * len(file["data"])
    for name in channels:
        keys = [key for key in CHANNEL_ARRAYS[name] if key in file]
        shape = (*file["data"].shape[:2], *((3,) if WIDTHS[name] > 1 else ()))
        if not keys:
            raise ValueError(
                f"{file.filename} has no {name}, a data set "
                f"{' or '.join(CHANNEL_ARRAYS[name])} of the shape {shape}. "
                f"Received: {sorted(file)}"
            )
        if chosen is None:
            found[name] = read_array(
                file, keys[0], shape, max_bytes=max_bytes
            )
            continue
        data = checked(file, keys[0], shape)
        chosen_shape = (*chosen.shape, *shape[2:])
        check_size(path, shape[1:], data.dtype, max_bytes)
        check_size(path, chosen_shape, data.dtype, max_bytes)
        found[name] = np.empty(chosen_shape, data.dtype)
        for number, indices in enumerate(chosen):
            row = read_part(data, number)
            found[name][number] = row.take(indices, axis=0)
            if name == "colors":
                brightest[number] = float(row.max())
    return found, brightest


def _read_clouds(path, file, num_points, seed, max_bytes):
    """Clouds as they are in the file, and which points of each these are."""
    shape = (None, None, 3)
    if num_points is None:
        return read_array(file, "data", shape, max_bytes=max_bytes), None
    data = checked(file, "data", shape)
    count, available, _ = data.shape
    if not 0 < num_points <= available:
        raise ValueError(
            f"{path} has clouds of {available} points, of which `num_points` "
            f"can be chosen. Received: num_points={num_points}"
        )
    check_size(path, (available, 3), data.dtype, max_bytes)
    check_size(path, (count, num_points, 3), data.dtype, max_bytes)
    clouds = np.empty((count, num_points, 3), data.dtype)
    chosen = np.empty((count, num_points), "int64")
    for number in range(count):
        cloud = read_part(data, number)
        rng = np.random.default_rng((seed, number))
        chosen[number] = draw(available, num_points, rng)
        clouds[number] = cloud.take(chosen[number], axis=0)
        if data.dtype.kind == "f" and not np.isfinite(cloud).all():
            clouds[number, 0] = np.nan  # whichever points were chosen
    return clouds, chosen


def _choose(path, clouds):
    """Whether clouds must be normalised; says so if they must."""
    for begin in range(0, len(clouds), 256):
        part = clouds[begin : begin + 256].astype("float64")
        center = part.mean(axis=1, keepdims=True)
        radius = np.sqrt(((part - center) ** 2).sum(axis=-1).max(axis=-1))
        off = np.abs(center).max(axis=(1, 2)) > 0.05
        # NaN is neither: such clouds are refused later, by name.
        off |= (radius < 0.9) | (radius > 1.1)
        if off.any():
            number = int(np.flatnonzero(off)[0])
            warnings.warn(
                f"The clouds of {os.path.basename(path)} are not about the "
                "unit sphere, and were each centred and scaled to it; "
                "`normalize=False` leaves them. Received: cloud "
                f"{begin + number} with its centre at "
                f"{np.round(center[number, 0], 3).tolist()} and radius "
                f"{radius[number]:.3g}",
                stacklevel=4,
            )
            return True
    return False
