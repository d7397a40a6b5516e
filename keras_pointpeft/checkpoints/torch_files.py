"""What PyTorch saved: read with nothing in it that could run."""

import collections
import contextlib
import pickle
import re
import zipfile

import numpy as np


class NotTensors(ValueError):
    """A file that is damaged, or wants to run or build something."""


class _Passed:
    """Stands in for a value beside the weights, and keeps nothing."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


class _Settings:
    """The same for settings; PyTorch puts items in this dict alone."""

    def __new__(cls, *args):
        return collections.OrderedDict()


# Plain values that training code saves beside weights. None of the classes is
# built: what stands in for them keeps nothing.
SETTINGS = (
    "addict.addict.Dict",
    "argparse.Namespace",
    "easydict.EasyDict",
    "types.SimpleNamespace",
    "yacs.config.CfgNode",
)
PASSED = (
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
)
NUMBERS = ("?", *"bBhHiIqQ", "f2", "f4", "f8")


def inspect(path, size, max_bytes):
    """The bytes that a file unpacks to, and what is damaged in it, or None."""
    try:
        if not zipfile.is_zipfile(path):
            return size, None
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(i.file_size for i in archive.infolist()))
            damaged = archive.testzip() if size <= max_bytes else None
    # Damage shows in many ways; none of them is worth telling apart.
    except Exception as error:
        damaged = _first(error) or type(error).__name__
    return size, damaged


def load(path):
    """The content of a file: tensors, numbers and containers of them.

    Raises:
        ImportError: if PyTorch is not installed.
        NotTensors: if there is anything else in it, or it is damaged.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Reading a .pth file needs PyTorch: pip install torch. "
            "The model itself may run on any backend."
        ) from error
    try:
        with _plain_values_allowed(torch):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted:
            raise NotTensors(
                f"The file wants to run or build {wanted[1]}, and only "
                "tensors are read; where it was made, save "
                "`model.state_dict()` alone"
            ) from error
        raise NotTensors(
            f"The file is damaged or no checkpoint ({_first(error)})"
        ) from error
    except MemoryError:
        raise
    # A damaged file can fail anywhere in the parser, with any error.
    except Exception as error:
        raise NotTensors(
            "The file is damaged or no checkpoint "
            f"({type(error).__name__}: {_first(error)})"
        ) from error


def _first(error):
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else ""


@contextlib.contextmanager
def _plain_values_allowed(torch):
    """Lets numbers, arrays and settings pass, which files hold too."""
    scalar = np.float64(0).__reduce__()[0]
    allowed = [
        np.dtype,
        *{type(np.dtype(kind)) for kind in NUMBERS},
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
        *((_Settings, name) for name in SETTINGS),
        *((_Passed, name) for name in PASSED),
    ]
    with torch.serialization.safe_globals(allowed):
        yield
