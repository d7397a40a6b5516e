"""Reads published checkpoints as tensors, and as nothing else."""

import json
import os
import re

import numpy as np

from keras_pointpeft.checkpoints import torch_files
from keras_pointpeft.checkpoints.containers import unwrap
from keras_pointpeft.files.progress import telling

MAX_BYTES = 16 * 2**30
# What parallel training and compilation leave in names, at any place.
WRAPPED = r"(^|\.)(module|_orig_mod)\."
INDEX = ".index.json"
SHARD = r"-\d{5}-of-(\d{5})\.\w+$"


class CheckpointRefused(ValueError):
    """A file that is no checkpoint, is damaged, or wants to run code."""


@telling("reading weights")
def read_checkpoint(path, max_bytes=MAX_BYTES, container=None):
    """Reads the weights of a checkpoint.

    `.pth` files, whatever their suffix, are read with
    `torch.load(weights_only=True)`: tensors, numbers and containers, and
    nothing that could run. Settings that stand beside the weights, such as an
    `argparse.Namespace`, are passed over. `.safetensors` files hold tensors
    alone. Of a checkpoint in shards, name its `*.index.json` or its folder.

    The weights are found under the names that training code gives them, and
    `module.` and `_orig_mod.`, left by parallel training and compilation, are
    taken off their names.

    Args:
        path: path of the file, or of a folder with a sharded checkpoint.
        max_bytes: int. The largest file, and the most bytes of tensors, that
            are read.
        container: optional string. Where in the file the weights stand, such
            as `"ema"`, or `"state.model"` if one is inside another. The first
            of the usual names that is there by default.

    Returns:
        dict from name to numpy array. Floating-point values are float32.

    Raises:
        FileNotFoundError: if there is no such file, or a shard is missing.
        ImportError: if PyTorch, or safetensors, is not installed.
        CheckpointRefused: if the file is not a checkpoint, is damaged, too
            large, or holds anything beside tensors and plain values.

    Example:
    ```python
    state = keras_pointpeft.checkpoints.read_checkpoint("pretrain.pth")
    ```
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        path = _index_in(path)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no such file. Received: {path!r}")
    if path.endswith(".json"):
        if container is not None:
            raise refused(path, f"Shards have no part {container!r}")
        state = _read_shards(path, max_bytes)
        return _plain_names(state, path)
    return _plain_names(_read_file(path, max_bytes, container), path)


def read_array(source):
    """Reads a file of one array: `.npy`, or a tensor that torch saved.

    Args:
        source: path of the file, or an array, which is returned.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointRefused: if it holds something else.
    """
    if not isinstance(source, (str, os.PathLike)):
        return np.asarray(source)
    path = os.fspath(source)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no such file. Received: {path!r}")
    if path.endswith(".npy"):
        try:
            return np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise refused(path, f"No array of numbers ({error})") from error
    _check_size(path, MAX_BYTES)
    found = _load(path)
    tensors = _tensors({"the array": found}, "", path, MAX_BYTES)
    return tensors["the array"]


def refused(path, reason):
    return CheckpointRefused(f"{reason}. Received: {path!r}")


def _index_in(folder):
    """The index of the one sharded checkpoint, or its one file."""
    names = sorted(os.listdir(folder))
    found = [name for name in names if name.endswith(INDEX)]
    found = found or [n for n in names if n.endswith(".safetensors")]
    if len(found) != 1:
        raise refused(
            folder,
            f"A folder of weights has one file *{INDEX} or *.safetensors; "
            f"this has {found or names[:8]}",
        )
    return os.path.join(folder, found[0])


def _read_file(path, max_bytes, container=None):
    """The tensors of one file, by their names in it."""
    _check_size(path, max_bytes)
    shards = re.search(SHARD, path)
    if shards and int(shards[1]) > 1:
        raise refused(
            path,
            f"This is one of {shards[1]} files of a checkpoint; name its "
            f"*{INDEX} or the folder",
        )
    return _read_any(path, max_bytes, container)


def _read_any(path, max_bytes, container=None):
    if _is_safetensors(path):
        if container is not None:
            raise refused(
                path, f"A .safetensors file has no part {container!r}"
            )
        return _read_safetensors(path, max_bytes)
    content = _load(path)
    try:
        state, where = unwrap(content, container)
    except torch_files.NotTensors as error:
        raise refused(path, str(error)) from error
    return _tensors(state, where, path, max_bytes)


def shards_of(index):
    """Reads an index.

    Args:
        index: path of a `*.index.json`.

    Returns:
        dict from a tensor's name to the name of the file that holds it, in
        the same folder.

    Raises:
        CheckpointRefused: if it is no index.
    """
    try:
        with open(index, encoding="utf-8") as stream:
            files = json.load(stream)["weight_map"]
        if not files or not all(isinstance(f, str) for f in files.values()):
            raise ValueError("no names of files")
    except (
        AttributeError,
        KeyError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise refused(
            index,
            'An index holds {"weight_map": {name: file}} '
            f"({type(error).__name__}: {error})",
        ) from error
    for name in files.values():
        if name != os.path.basename(name) or name in ("", ".", ".."):
            raise refused(index, f"A shard lies elsewhere: {name!r}")
    return files


def _read_shards(path, max_bytes):
    """The tensors of all files that an index names."""
    files = shards_of(path)
    folder, state = os.path.dirname(path), {}
    names = sorted(set(files.values()))
    for name in names:
        shard = os.path.join(folder, name)
        if not os.path.isfile(shard):
            raise FileNotFoundError(
                f"The checkpoint lacks a shard, of {len(names)}. "
                f"Received: {shard!r}"
            )
        _check_size(shard, max_bytes)
        found = _read_any(shard, max_bytes)
        wanted = {key for key, file in files.items() if file == name}
        missing, left = sorted(wanted - set(found)), sorted(set(found) - wanted)
        if missing or left:
            raise refused(
                shard,
                f"The index and the shard differ: missing {missing[:8]}, "
                f"not in the index {left[:8]}",
            )
        state |= found
        max_bytes -= sum(value.nbytes for value in found.values())
    return state


def _check_size(path, max_bytes):
    size = os.path.getsize(path)
    if size == 0:
        raise refused(path, "The file is empty")
    size, damaged = torch_files.inspect(path, size, max_bytes)
    if size > max_bytes:
        raise refused(
            path,
            f"The file holds {size:,} bytes, more than `max_bytes`="
            f"{max_bytes:,}",
        )
    if damaged is not None:
        raise refused(path, f"The file is damaged ({damaged})")


def _load(path):
    try:
        return torch_files.load(path)
    except torch_files.NotTensors as error:
        raise refused(path, str(error)) from error


def _is_safetensors(path):
    """Told by the content: the length of a JSON object, and the object."""
    if path.endswith(".safetensors"):
        return True
    with open(path, "rb") as stream:
        start = stream.read(9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and length < os.path.getsize(path)


def _read_safetensors(path, max_bytes):
    try:
        import ml_dtypes  # noqa: F401 (numpy then knows bfloat16)
        import safetensors
    except ImportError as error:
        raise ImportError(
            "Reading a .safetensors file needs safetensors: "
            "pip install safetensors."
        ) from error
    state = {}
    try:
        with safetensors.safe_open(path, framework="np") as file:
            for name in file.keys():
                state[name] = file.get_tensor(name)
    # The library says all that is wrong with a file by its own error, and
    # that numpy lacks a type by another.
    except (safetensors.SafetensorError, TypeError, OSError) as error:
        raise refused(
            path,
            f"The file is damaged or no .safetensors file ({error})",
        ) from error
    for name, value in state.items():
        if np.iscomplexobj(value):
            raise refused(path, f"{name} holds complex numbers")
        if value.dtype.kind not in "iub":
            state[name] = value.astype("float32")
    if sum(value.nbytes for value in state.values()) > max_bytes:
        raise refused(path, f"The tensors exceed `max_bytes`={max_bytes:,}")
    if not state:
        raise refused(path, "The file holds no tensors")
    return state


def _tensors(state, where, path, max_bytes):
    import torch

    found, total = {}, 0
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise refused(
                path,
                f"Among the weights ({where or 'top level'}) stands {name!r}, "
                f"a {type(value).__name__}",
            )
        if value.layout != torch.strided or value.is_quantized:
            raise refused(path, f"{name} is not a plain tensor")
        if value.is_complex():
            raise refused(path, f"{name} holds complex numbers")
        size = value.numel() * max(value.element_size(), 4)
        if size > max(value.untyped_storage().nbytes() * 4, 64):
            raise refused(
                path,
                f"{name} claims the shape {tuple(value.shape)}, more than "
                "the file holds of it",
            )
        total += size
        if total > max_bytes:
            raise refused(path, f"The tensors exceed `max_bytes`={max_bytes:,}")
        if value.is_floating_point():
            value = value.to(torch.float32)
        found[name] = value.detach().numpy()
    return found


def _plain_names(state, path):
    renamed = {}
    for name, value in state.items():
        plain = name
        while plain != (shorter := re.sub(WRAPPED, r"\1", plain)):
            plain = shorter
        if plain in renamed:
            raise refused(
                path, f"Two tensors are named {plain} once wrappers are gone"
            )
        renamed[plain] = value
    return renamed
