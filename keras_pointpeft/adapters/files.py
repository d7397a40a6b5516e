"""The files of an adapter: saved, read, and loaded into a task.

An adapter is all that fine-tuning changed: the trained variables of backbone
and head, and statistics that moved. It is a directory of `adapter.json`
(what it belongs to), `adapter.weights.h5` (one data set per variable,
named by the variable's path) and `README.md` (a model card).
"""

import hashlib
import io
import json
import pathlib
import re

import h5py
import keras
import numpy as np
from absl import logging

from keras_pointpeft.adapters.card import CARD_FILE
from keras_pointpeft.adapters.card import CONFIG_FILE
from keras_pointpeft.adapters.card import WEIGHTS_FILE
from keras_pointpeft.adapters.card import write_card
from keras_pointpeft.adapters.settings import check_as_built
from keras_pointpeft.adapters.settings import described
from keras_pointpeft.adapters.settings import differences
from keras_pointpeft.adapters.settings import tell_unknown
from keras_pointpeft.adapters.variables import base_digest
from keras_pointpeft.adapters.variables import kept_paths
from keras_pointpeft.adapters.variables import split_variables
from keras_pointpeft.data.contract import Contract
from keras_pointpeft.data.h5_files import open_h5
from keras_pointpeft.files.hub import local_directory
from keras_pointpeft.files.preset_folder import read_json
from keras_pointpeft.files.progress import telling
from keras_pointpeft.files.whole import whole_files
from keras_pointpeft.peft.freezing import note_base
from keras_pointpeft.peft.method import CHANNELS
from keras_pointpeft.serialization import python_number

FORMAT = 2
# "shuffle" stores the first bytes of all numbers together, then the second
# ones: exponents of trained weights are much alike, which saves an eighth.
PACKED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
WORTH_PACKING = 4096  # bytes


@telling("saving the adapter")
def save_adapter(task, path, state=True):
    """Saves what fine-tuning changed.

    All files are written under temporary names and then renamed: a save that
    fails leaves an older adapter as it was.

    Args:
        task: a task with a `backbone`, such as a `PointCloudClassifier`.
        path: directory to write to; made if it does not exist.
        state: bool. Whether to write what the method keeps without training
            it, such as Point-PEFT's bank. Without it the adapter has only
            the bank's recipe, and a model that loads it keeps its own bank.

    Returns:
        The size of the adapter in bytes.

    Raises:
        ValueError: if a file stands at `path`, or the method was changed after
            the model was built.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    size = keras_pointpeft.adapters.save_adapter(model, "my_task")
    ```
    """
    directory = pathlib.Path(path)
    if directory.exists() and not directory.is_dir():
        raise ValueError(
            "An adapter is saved to a directory, but a file stands there. "
            f"Received: path={str(path)!r}"
        )
    adapter, base = split_variables(task)
    description = described(task)
    kept = kept_paths(task)
    if not state:
        adapter = {k: v for k, v in adapter.items() if k not in kept}
    values = {name: _stored(v, name in kept) for name, v in adapter.items()}
    config = {
        "format": FORMAT,
        "base_preset": getattr(task, "preset", None),
        "base_fingerprint": base_digest(base),
        "weights_sha256": _digest(values),
        **description,
        "parameters": int(
            sum(np.prod(v.shape) for k, v in adapter.items() if k not in kept)
        ),
        "state": state,
        "contract": task.contract.to_dict(),
        "keras_version": keras.__version__,
    }

    text = json.dumps(config, indent=2, default=python_number)
    return write_adapter(directory, values, text)


def write_adapter(directory, values, config):
    """Writes the files of an adapter, all of them or none.

    Args:
        directory: path; made if it does not exist.
        values: dict from names to arrays.
        config: string, the contents of `adapter.json`.

    Returns:
        The size of the adapter in bytes.
    """
    names = (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE)
    with whole_files(directory, names) as places:
        write_arrays(places[WEIGHTS_FILE], values)
        places[CONFIG_FILE].write_text(config, encoding="utf-8")
        write_card(places[CARD_FILE], json.loads(config))
        return sum(place.stat().st_size for place in places.values())


def _stored(variable, compact):
    """A variable's value as a file has it.

    Args:
        variable: variable.
        compact: bool. Whether as float16 where that loses nothing.
    """
    value = keras.ops.convert_to_numpy(variable)
    if value.dtype.name == "bfloat16":
        # The file format has no such type.
        value = value.astype("float32")
    if compact and value.dtype == np.float32:
        half = value.astype("float16")
        if np.array_equal(half.astype("float32"), value):
            return half
    return value


def _digest(values):
    """SHA-256 of named arrays."""
    digest = hashlib.sha256()
    for name in sorted(values):
        value = np.ascontiguousarray(values[name])
        digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def write_arrays(file, arrays):
    """Writes named arrays as HDF5, without loss.

    Args:
        file: path.
        arrays: dict from names to arrays.
    """
    # In memory first: on a full disk, HDF5 ends the process.
    image = io.BytesIO()
    # The newer file format spends about a hundred bytes on a group or chunk,
    # the older one thousands.
    with h5py.File(image, "w", libver="v110") as h5:
        for name, value in arrays.items():
            pack = value.nbytes >= WORTH_PACKING
            options = {**PACKED, "chunks": value.shape} if pack else {}
            h5.create_dataset(name, data=value, **options)
    pathlib.Path(file).write_bytes(image.getbuffer())


def data_sets(file):
    """All data sets of an open HDF5 file, a dict from their names."""
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(visit)
    return found


def read_config(path):
    """The JSON part of a saved adapter, as a dict.

    Raises:
        FileNotFoundError: if there is no adapter.
        ValueError: for one that is damaged, or of a later format.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.save_adapter("my_task")
    keras_pointpeft.adapters.read_config("my_task")["peft"]
    ```
    """
    directory = pathlib.Path(path)
    missing = [
        name
        for name in (CONFIG_FILE, WEIGHTS_FILE)
        if not (directory / name).is_file()
    ]
    if missing:
        raise FileNotFoundError(
            f"An adapter is a directory with {CONFIG_FILE} and "
            f"{WEIGHTS_FILE}; missing: {missing}. Received: {str(path)!r}"
        )
    config = read_json(directory / CONFIG_FILE)
    if config.get("format") != FORMAT:
        raise ValueError(
            f"This version reads adapters of format {FORMAT}. "
            f"Received: format={config.get('format')!r} in {str(path)!r}"
        )
    return config


def read_contract(path):
    """What an adapter's model was trained on.

    Adapters of earlier versions do not know all of it; a line says what.

    Args:
        path: directory that `save_adapter` wrote, or `"hf://owner/name"`.

    Returns:
        `keras_pointpeft.data.Contract`.
    """
    config = read_config(local_directory(path))
    contract = Contract.from_dict(config.get("contract"))
    if contract.preset is None:
        contract = contract.told(preset=config["base_preset"])
    if contract.unknown:
        logging.warning(
            "The adapter in %s does not know its %s: classes are told by "
            "number, and clouds are taken as they come.",
            path,
            ", ".join(contract.unknown),
        )
    return contract


@telling("loading the adapter")
def load_adapter(task, path):
    """Loads a saved adapter into a task with the same frozen base.

    Everything is checked before the first weight is changed.

    Args:
        task: a task built as the adapter's was.
        path: directory that `save_adapter` wrote, or the handle of one on a
            hub, `"hf://owner/name"`.

    Raises:
        ValueError: if a setting that changes what is computed, or the frozen
            base, differs from the adapter's, if variables are missing,
            unknown or of another shape, or if the weights are not those that
            were saved. Settings of training alone, such as rates of dropout,
            may differ.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.save_adapter("my_task")
    keras_pointpeft.adapters.load_adapter(model, "my_task")
    ```
    """
    values = read_values(task, path)
    contract = read_contract(path)
    note_base(task.backbone)
    target, _ = split_variables(task)
    for name, value in values.items():
        target[name].assign(value)
    task.contract = contract


def read_values(task, path):
    """The arrays of a saved adapter that fits a task, by path.

    Args:
        task: see `load_adapter`.
        path: likewise.

    Raises:
        ValueError: likewise.
    """
    path = local_directory(path)
    config = read_config(path)
    check_as_built(task.backbone)
    target, base = split_variables(task)
    if not config.get("state", True):
        kept = kept_paths(task)
        target = {k: v for k, v in target.items() if k not in kept}
    with open_h5(pathlib.Path(path) / WEIGHTS_FILE) as h5:
        shapes = {name: found.shape for name, found in data_sets(h5).items()}
        # Before linear probing and its like trained this, it was of the base.
        if not any(re.search(CHANNELS, name) for name in shapes):
            for name in [n for n in target if re.search(CHANNELS, n)]:
                base[name] = target.pop(name)
        # Files of earlier versions have the names of scopes around the model.
        outside = {variable.path: name for name, variable in target.items()}
        scoped = shapes.keys() == outside.keys()
        if scoped:
            shapes = {outside[path]: shape for path, shape in shapes.items()}
        problems = differences(task, config)
        problems += [f"missing: {n}" for n in target if n not in shapes]
        problems += [f"unknown: {n}" for n in shapes if n not in target]
        problems += [
            f"shape of {n}: expected {tuple(target[n].shape)}, found {s}"
            for n, s in shapes.items()
            if n in target and tuple(target[n].shape) != s
        ]
        if problems:
            listed = "\n  ".join(problems[:10])
            raise ValueError(
                f"The adapter does not fit this model ({len(problems)} "
                f"differences):\n  {listed}\n"
                f"It was made with {config['peft']}. "
                "`keras_pointpeft.from_adapter(path)` builds the model that "
                "it belongs to; or build this one with the adapter's "
                f"settings. Received: {str(path)!r}"
            )
        if scoped:
            base = {variable.path: variable for variable in base.values()}
        found = base_digest(base)
        if found != config["base_fingerprint"]:
            raise ValueError(
                "The adapter was trained on another frozen backbone: expected "
                f"fingerprint {config['base_fingerprint'][:16]}..., this "
                f"model's is {found[:16]}... Its base preset is "
                f"{config['base_preset']!r}. Received: {str(path)!r}"
            )
        tell_unknown(path, config)
        stored = {v.path if scoped else k: k for k, v in target.items()}
        arrays = {path: h5[path][()] for path in stored}
    found, expected = _digest(arrays), config["weights_sha256"]
    if found != expected:
        raise ValueError(
            f"{WEIGHTS_FILE} is damaged, or not the file that {CONFIG_FILE} "
            f"was written for: expected SHA-256 {expected}, found {found}. "
            f"Received: {str(path)!r}"
        )
    return {stored[path]: value for path, value in arrays.items()}
