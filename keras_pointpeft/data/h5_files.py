"""Reading of h5 files that may be truncated, partial or wrong."""

import contextlib
import json

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import check_size

# gzip cannot do better than about 1:1000; coordinates never come near it.
_MAX_RATIO = 200
_SMALL = 64 * 2**20


@contextlib.contextmanager
def open_h5(path):
    """Opens an h5 file for reading; damage is a `ValueError` with its name."""
    import h5py

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read as an h5 file; it is truncated or is "
            f"something else. Received: {error}"
        ) from error
    with file:
        yield file


def read_array(file, key, shape=None, kinds="fiu", max_bytes=MAX_BYTES):
    """Reads one data set of an open h5 file, with its header checked first.

    Args:
        file: an open `h5py.File`.
        key: string.
        shape: expected shape; None stands for any length. None for any.
        kinds: string, the accepted `dtype.kind`s.
        max_bytes: int, refuse to allocate more.

    Raises:
        ValueError: the key is missing, ragged, of another shape or type, too
            large, or not completely written.
    """
    data = checked(file, key, shape, kinds, max_bytes)
    return read_part(data, ())


def checked(file, key, shape=None, kinds="fiu", max_bytes=None):
    """A data set of an open h5 file whose header has been checked.

    Args:
        file, key, shape, kinds: see `read_array`.
        max_bytes: optional int, refuse to read more in one piece.

    Returns:
        `h5py.Dataset`, for `read_part`.
    """
    where = f"{file.filename}: {key!r}"
    data = _data_set(file, key)
    if data.dtype.kind not in kinds:
        wrong = "ragged" if data.dtype.kind == "O" else "of the wrong type"
        raise ValueError(
            f"{where} is {wrong}: it must be one array of numbers. "
            f"Received: dtype {data.dtype}"
        )
    if shape is not None and not _fits(data.shape, shape):
        raise ValueError(
            f"{where} must have the shape {_text(shape)}. "
            f"Received: {data.shape}"
        )
    if max_bytes is not None:
        check_size(where, data.shape, data.dtype, max_bytes)
    _check_stored(where, data)
    return data


def read_part(data, part):
    """A part of a data set, or all of it for `()`."""
    try:
        return data[part]
    except OSError as error:
        where = f"{data.file.filename}: {data.name[1:]!r}"
        raise ValueError(
            f"{where} cannot be read: the file is damaged. Received: {error}"
        ) from error


def read_class_names(file):
    """The attribute `class_names`: a JSON list or strings; None without."""
    value = file.attrs.get("class_names")
    if value is None:
        return None
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise ValueError(
                f"{file.filename}: the attribute class_names must be a JSON "
                f"list. Received: {value[:80]!r}"
            ) from error
    if not isinstance(value, (list, np.ndarray)):
        raise ValueError(
            f"{file.filename}: the attribute class_names must be a list. "
            f"Received: {value!r}"
        )
    return tuple(n.decode() if isinstance(n, bytes) else str(n) for n in value)


def read_strings(file, key, length, max_bytes=MAX_BYTES):
    """Reads a data set of `length` strings, of fixed or any length."""
    import h5py

    data = _data_set(file, key)
    if h5py.check_string_dtype(data.dtype) is None:
        raise ValueError(
            f"{file.filename}: {key!r} must hold strings. "
            f"Received: dtype {data.dtype}"
        )
    if data.shape != (length,):
        raise ValueError(
            f"{file.filename}: {key!r} must have the shape ({length},). "
            f"Received: {data.shape}"
        )
    check_size(f"{file.filename}: {key!r}", data.shape, data.dtype, max_bytes)
    return tuple(data.asstr(errors="replace")[()].tolist())


def _data_set(file, key):
    import h5py

    link = file.get(key, getlink=True) if key in file else None
    data = file.get(key) if isinstance(link, h5py.HardLink) else None
    if not isinstance(data, h5py.Dataset):
        raise ValueError(
            f"{file.filename} has no data set {key!r}. Received: {sorted(file)}"
        )
    if data.external or data.is_virtual:
        raise ValueError(
            f"{file.filename}: {key!r} must be stored in the file itself. "
            "Received: a reference to other files"
        )
    return data


def _check_stored(where, data):
    """Compares the declared size with what the file stores."""
    if data.size == 0:
        return
    stored = data.id.get_storage_size()
    if stored == 0:
        raise ValueError(
            f"{where} declares the shape {data.shape} but stores nothing. "
            "Received: 0 bytes"
        )
    if data.nbytes > _SMALL and data.nbytes > _MAX_RATIO * max(stored, 1):
        raise ValueError(
            f"{where} declares {data.nbytes} bytes, implausible for what the "
            f"file stores. Received: {stored} bytes"
        )
    if data.chunks is not None:
        needed = 1
        for length, chunk in zip(data.shape, data.chunks):
            needed *= -(-length // chunk)
        if data.id.get_num_chunks() < needed:
            raise ValueError(
                f"{where} was not written completely. Received: "
                f"{data.id.get_num_chunks()} of {needed} chunks"
            )


def _fits(shape, expected):
    return len(shape) == len(expected) and all(
        want is None or have == want for have, want in zip(shape, expected)
    )


def _text(expected):
    names = ["any" if e is None else str(e) for e in expected]
    return "(" + ", ".join(names) + ("," if len(names) == 1 else "") + ")"
