"""Reads published checkpoints as tensors, and as nothing else."""

import contextlib
import os
import pickle
import re
import zipfile

import numpy as np

# Where the published training code puts the weights.
CONTAINERS = ("base_model", "model", "state_dict", "model_state_dict", "net")
MAX_BYTES = 16 * 2**30


class CheckpointRefused(ValueError):
    """A file that is no checkpoint, is damaged, or wants to run code."""


def read_checkpoint(path, max_bytes=MAX_BYTES):
    """Reads the weights of a PyTorch checkpoint.

    The file is read with `torch.load(weights_only=True)`: tensors, numbers
    and containers, and nothing that could run. The weights are found under
    the names that published code gives them, and `module.`, left by parallel
    training, is taken off their names.

    Args:
        path: path of the file.
        max_bytes: int. The largest file, and the most bytes of tensors, that
            are read.

    Returns:
        dict from name to numpy array. Floating-point values are float32.

    Raises:
        FileNotFoundError: if there is no such file.
        ImportError: if PyTorch is not installed.
        CheckpointRefused: if the file is not a checkpoint, is damaged, too
            large, or holds anything beside tensors and plain values.

    Example:
    ```python
    state = keras_pointpeft.checkpoints.read_checkpoint("pretrain.pth")
    ```
    """
    path = os.fspath(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no such file. Received: {path!r}")
    _check_size(path, max_bytes)
    content = _load(path)
    state, where = _unwrap(content, path)
    tensors = _tensors(state, where, path, max_bytes)
    return _without_module(tensors, path)


def _refuse(path, reason):
    return CheckpointRefused(f"{reason}. Received: {path!r}")


def _check_size(path, max_bytes):
    size = os.path.getsize(path)
    if size == 0:
        raise _refuse(path, "The file is empty")
    damaged = None
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(i.file_size for i in archive.infolist()))
                if size <= max_bytes:
                    damaged = archive.testzip()
        # Damage shows in many ways; none of them is worth telling apart.
        except Exception as error:
            damaged = _first(error) or type(error).__name__
    if size > max_bytes:
        raise _refuse(
            path,
            f"The file holds {size:,} bytes, more than `max_bytes`="
            f"{max_bytes:,}",
        )
    if damaged is not None:
        raise _refuse(path, f"The file is damaged ({damaged})")


def _load(path):
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            "Reading a .pth file needs PyTorch: pip install torch. "
            "The model itself may run on any backend."
        ) from error
    try:
        with _numbers_allowed(torch):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted:
            raise _refuse(
                path,
                f"The file wants to run or build {wanted[1]}, and only "
                "tensors are read",
            ) from error
        raise _refuse(
            path, f"The file is damaged or no checkpoint ({_first(error)})"
        ) from error
    except MemoryError:
        raise
    # A damaged file can fail anywhere in the parser, with any error.
    except Exception as error:
        raise _refuse(
            path,
            "The file is damaged or no checkpoint "
            f"({type(error).__name__}: {_first(error)})",
        ) from error


def _first(error):
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else ""


@contextlib.contextmanager
def _numbers_allowed(torch):
    """Lets numpy numbers pass: published files hold accuracies as such."""
    scalar = np.float64(0).__reduce__()[0]
    allowed = [
        np.dtype,
        *{type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8")},
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
    ]
    with torch.serialization.safe_globals(allowed):
        yield


def _unwrap(content, path):
    """The state dict, and where in the file it stands."""
    import torch

    where = []
    while isinstance(content, dict):
        if any(isinstance(v, torch.Tensor) for v in content.values()):
            return content, ".".join(where)
        inner = [
            key for key in CONTAINERS if isinstance(content.get(key), dict)
        ]
        if not inner or len(where) > 3:
            break
        where.append(inner[0])
        content = content[inner[0]]
    found = f"a {type(content).__name__}"
    if isinstance(content, dict):
        found = f"the keys {sorted(map(str, content))[:8]}"
    raise _refuse(
        path, f"The file holds no weights under {CONTAINERS}, but {found}"
    )


def _tensors(state, where, path, max_bytes):
    import torch

    found, total = {}, 0
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise _refuse(
                path,
                f"Among the weights ({where or 'top level'}) stands {name!r}, "
                f"a {type(value).__name__}",
            )
        if value.layout != torch.strided or value.is_quantized:
            raise _refuse(path, f"{name} is not a plain tensor")
        if value.is_complex():
            raise _refuse(path, f"{name} holds complex numbers")
        size = value.numel() * max(value.element_size(), 4)
        if size > max(value.untyped_storage().nbytes() * 4, 64):
            raise _refuse(
                path,
                f"{name} claims the shape {tuple(value.shape)}, more than "
                "the file holds of it",
            )
        total += size
        if total > max_bytes:
            raise _refuse(path, f"The tensors exceed `max_bytes`={max_bytes:,}")
        if value.is_floating_point():
            value = value.to(torch.float32)
        found[name] = value.detach().numpy()
    return found


def _without_module(state, path):
    renamed = {}
    for name, value in state.items():
        plain = re.sub(r"(^|\.)module\.", r"\1", name)
        if plain in renamed:
            raise _refuse(
                path, f"Two tensors are named {plain} once `module.` is gone"
            )
        renamed[plain] = value
    return renamed
