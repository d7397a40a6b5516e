"""Reading of pickles that hold numpy arrays and builtin containers only.

A pickle is a program. This reader looks no name up: the few names that
arrays need are bound to stand-ins defined here, which build an array from
the bytes in the file and can do nothing else; any other name raises.
"""

import collections
import os
import pickle
import types

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES

_ARRAY = types.MappingProxyType({"marker": "numpy.ndarray"})


def load_arrays(path, max_bytes=MAX_BYTES):
    """Reads a pickle of numpy arrays without running anything from it.

    Containers (list, tuple, dict, set), numbers, strings, numpy arrays,
    types and scalars are read, written by numpy 1 or 2 and by Python 2 or 3.

    Args:
        path: string, the file.
        max_bytes: int, the largest file that is read.

    Raises:
        pickle.UnpicklingError: the file names anything else. The message
            holds the name.
        ValueError: the file is damaged or too large.

    Example:

    ```python
    import os
    import pickle
    import tempfile

    import numpy as np
    from keras_pointpeft.data.restricted_pickle import load_arrays

    path = os.path.join(tempfile.mkdtemp(), "arrays.dat")
    with open(path, "wb") as file:
        pickle.dump([np.zeros((8, 6), "float32")], file)
    load_arrays(path)[0].shape  # (8, 6)
    ```
    """
    size = os.path.getsize(path)
    if size > max_bytes:
        raise ValueError(
            f"{path} is larger than the limit `max_bytes`={max_bytes}. "
            f"Received: {size} bytes"
        )
    with open(path, "rb") as file:
        try:
            return _Unpickler(file, encoding="latin1").load()
        except _Refused as error:
            raise pickle.UnpicklingError(f"{path}: {error}") from None
        except Exception as error:
            raise ValueError(
                f"{path} is not a complete pickle of arrays. "
                f"Received: {type(error).__name__}: {error}"
            ) from error


class _Refused(pickle.UnpicklingError):
    pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        # numpy 2 renamed the module; its content is the same.
        key = f"{module.replace('numpy.core', 'numpy._core')}.{name}"
        if key == "numpy.ndarray":
            return _ARRAY
        maker = _MAKERS.get(key)
        if maker is None and module == "numpy.dtypes":
            maker = _dtype_class(name)
        if maker is None:
            raise _Refused(
                "only numpy arrays and builtin containers are read, and "
                "nothing was run. Received: a file that asks for "
                f"{module}.{name}"
            )
        return _StandIn(key, maker)

    def persistent_load(self, pid):
        raise _Refused(f"persistent objects are not read. Received: {pid!r}")


class _StandIn:
    """A name of the file: it can be called, and not be changed."""

    __slots__ = ("_key", "_maker")

    def __init__(self, key, maker):
        object.__setattr__(self, "_key", key)
        object.__setattr__(self, "_maker", maker)

    def __call__(self, *args):
        return self._maker(*args)

    def __setattr__(self, name, value):
        raise _Refused(f"{self._key} cannot be changed. Received: {name}")

    def __setstate__(self, state):
        raise _Refused(f"{self._key} has no state. Received: {type(state)}")


class _DType:
    """A type of numbers, while the file is read."""

    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value

    def __setstate__(self, state):
        order = state[1]
        if any(part is not None for part in state[2:5]):
            raise _Refused(
                f"structured arrays are not read. Received: {state!r}"
            )
        if order in ("<", ">"):
            self.value = self.value.newbyteorder(order)


class _Array(np.ndarray):
    """An array, filled from the bytes that the file holds for it."""

    def __setstate__(self, state):
        shape, dtype, fortran, raw = state[-4:]
        filled = _from_buffer(raw, dtype, shape, "F" if fortran else "C")
        order = "F" if fortran else "C"
        super().__setstate__(
            (1, filled.shape, filled.dtype, fortran, filled.tobytes(order))
        )


def _dtype(name, align=False, copy=False):
    value = np.dtype(name) if isinstance(name, str) else None
    if value is None or value.kind not in "biufcSU" or value.names:
        raise _Refused(
            "only arrays of numbers and strings are read. "
            f"Received: dtype {name!r}"
        )
    return _DType(value)


def _dtype_class(name):
    kind = getattr(np.dtypes, name, None)
    if not (isinstance(kind, type) and issubclass(kind, np.dtype)):
        return None
    return lambda *args: _dtype(kind(*args).str)


def _reconstruct(kind, shape, code):
    if kind is not _ARRAY or tuple(shape) != (0,):
        raise _Refused(f"an array must start empty. Received: shape {shape}")
    return np.ndarray.__new__(_Array, (0,), "b")


def _from_buffer(raw, dtype, shape, order="C", axes=None):
    if isinstance(raw, str):  # Python 2 wrote bytes as a string.
        raw = raw.encode("latin1")
    if not isinstance(dtype, _DType) or not isinstance(raw, (bytes, bytearray)):
        raise _Refused(f"an array needs bytes. Received: {type(raw)}")
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    flat = np.frombuffer(raw, dtype.value)
    if order == "K" and axes is not None:  # numpy 2.3 and later
        return flat.reshape(shape).transpose(axes).copy(order="K")
    return flat.reshape(shape, order=order).copy(order="K")


def _scalar(dtype, raw):
    return _from_buffer(raw, dtype, ())[()]


def _encode(text, encoding="latin1"):
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused(f"only latin1 is decoded. Received: {encoding!r}")
    return text.encode("latin1")


def _bytes(value=b"", encoding="latin1"):
    if isinstance(value, str):
        value = _encode(value, encoding)
    if not isinstance(value, (bytes, bytearray, list, tuple)):
        raise _Refused(f"bytes need content. Received: {type(value)}")
    return bytes(value)


_MAKERS = {
    "numpy.dtype": _dtype,
    "numpy._core.multiarray._reconstruct": _reconstruct,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
    "_codecs.encode": _encode,
    "collections.OrderedDict": lambda items=(): collections.OrderedDict(items),
}
for _module in ("builtins", "__builtin__"):
    for _kind in (set, frozenset, list, tuple, dict, complex):
        _MAKERS[f"{_module}.{_kind.__name__}"] = _kind
    for _kind in (bytes, bytearray):
        _MAKERS[f"{_module}.{_kind.__name__}"] = _bytes
