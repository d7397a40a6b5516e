"""Arrays of NumPy, and raw float32 where it is told what they hold."""

import dataclasses
import os

import numpy as np

from keras_pointpeft.data.checks import check_size
from keras_pointpeft.data.formats.content import CHANNEL_ARRAYS
from keras_pointpeft.data.formats.content import LABELS
from keras_pointpeft.data.formats.content import Content
from keras_pointpeft.data.formats.content import as_labels
from keras_pointpeft.data.formats.content import as_numbers
from keras_pointpeft.data.formats.content import from_columns
from keras_pointpeft.data.formats.content import role_of

# What the coordinates in an .npz are called.
_POINTS = (
    "points",
    "xyz",
    "pos",
    "positions",
    "coord",
    "coords",
    "coordinates",
    "vertices",
)


def read(path, max_bytes):
    """An .npy, or an .npz with "points", or "xyz" ..., or one array alone.

    Its columns are x, y, z, or, of a structured array, named as such.
    """
    try:
        # A header that declares more than the file holds fails to map.
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        labels, beside, left_out = None, {}, []
        if hasattr(loaded, "files"):
            with loaded:
                names = loaded.files
                known = [name for name in _POINTS if name in names]
                name = (known or names)[0]
                if not known and len(names) != 1:
                    raise ValueError(
                        f'an array named "points" is needed, not {names}'
                    )
                points = _member(loaded, name, max_bytes)
                named = [n for n in LABELS if n in names and n != name]
                if named:
                    labels = _member(loaded, named[0], max_bytes)
                for channel, known in CHANNEL_ARRAYS.items():
                    there = [k for k in known if k in names and k != name]
                    for key in there[:1]:
                        rows = _member(loaded, key, max_bytes)
                        rows = _beside(channel, rows, len(points))
                        if rows is None:
                            left_out.append(f"1 array {key!r}")
                        else:
                            beside[channel] = rows
            loaded = points
    except (OSError, ValueError, EOFError, IndexError) as error:
        raise ValueError(f"it is not a complete array file: {error}") from error
    if loaded.dtype.names and loaded.ndim == 1:
        check_size(path, loaded.shape, loaded.dtype, max_bytes)
        roles = {role_of(name): name for name in loaded.dtype.names[::-1]}
        columns = {role: np.asarray(loaded[n]) for role, n in roles.items()}
        columns.pop(None, None)
        if labels is not None:
            columns["label"] = labels
        return dataclasses.replace(
            from_columns(columns), left_out=tuple(left_out), **beside
        )
    if loaded.dtype.kind not in "fiu":
        raise ValueError(f"it must hold numbers, not {loaded.dtype}")
    check_size(path, loaded.shape, "float32", max_bytes)
    if loaded.ndim != 2 or loaded.shape[1] < 3:
        raise ValueError(
            "it must hold points (points, 3 or more), not the shape "
            f"{loaded.shape}"
        )
    if len(loaded) <= 6 and loaded.shape[1] > 32:
        raise ValueError(
            f"it must hold points (points, 3 or more); {loaded.shape} seems to "
            "be the other way round"
        )
    return Content(
        as_numbers(loaded[:, :3]),
        labels=as_labels(labels),
        left_out=tuple(left_out),
        **beside,
    )


def read_raw(path, columns, max_bytes):
    """Rows of little-endian float32 without a header, as KITTI's .bin.

    Args:
        path: string.
        columns: int, numbers of each point: 4 for KITTI, 5 for nuScenes.
        max_bytes: int.

    Raises:
        ValueError: `columns` is not given or does not divide the file.
    """
    if columns is None:
        raise ValueError(
            "a .bin file does not say what it holds; pass `bin_columns`, how "
            "many float32 each point has (4 for KITTI, 5 for nuScenes)"
        )
    size = os.path.getsize(path)
    if columns < 3 or size % (4 * columns):
        raise ValueError(
            f"its {size} bytes are no rows of bin_columns={columns} float32"
        )
    check_size(path, (size // 4,), "float32", max_bytes)
    rows = np.fromfile(path, "<f4").reshape(-1, columns)
    intensity = rows[:, 3] if columns > 3 else None
    return Content(as_numbers(rows[:, :3]), intensity=intensity)


def _beside(channel, rows, count):
    """Colours without their opacity and the like; None of another shape."""
    if rows.shape == (count, 4) and channel == "colors":
        rows = rows[:, :3]
    if rows.shape == (count, 1) and channel == "intensity":
        rows = rows[:, 0]
    fits = rows.shape == ((count,) if channel == "intensity" else (count, 3))
    return rows if fits and rows.dtype.kind in "fiu" else None


def _member(loaded, name, max_bytes):
    """One array of an .npz, its header compared with what it holds."""
    member = loaded.zip.getinfo(f"{name}.npy")
    if member.file_size > max_bytes:
        raise ValueError(f"{member.file_size} bytes, above `max_bytes`")
    with loaded.zip.open(member) as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            header = np.lib.format.read_array_header_2_0
        shape, _, dtype = header(file)
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > member.file_size:
        raise ValueError(f"its header declares {shape}, more than it holds")
    return loaded[name]
