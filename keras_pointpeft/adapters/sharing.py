"""Adapters for others: on a hub, or as a safetensors file."""

import os

from keras_pointpeft.adapters.card import CONFIG_FILE
from keras_pointpeft.adapters.card import WEIGHTS_FILE
from keras_pointpeft.adapters.files import data_sets
from keras_pointpeft.adapters.files import read_config
from keras_pointpeft.adapters.files import write_adapter
from keras_pointpeft.data.h5_files import open_h5
from keras_pointpeft.files.hub import local_directory
from keras_pointpeft.files.progress import telling
from keras_pointpeft.files.whole import whole_file


@telling("uploading")
def upload_adapter(path, handle):
    """Puts a saved adapter on a hub.

    Needs `huggingface_hub` and to be logged in there.

    Args:
        path: directory that `save_adapter` wrote.
        handle: string, `"hf://owner/name"`.

    Raises:
        ValueError: for another kind of handle.
    """
    scheme, _, name = handle.partition("://")
    if scheme != "hf" or name.count("/") != 1:
        raise ValueError(
            f"A handle has the form 'hf://owner/name'. Received: {handle!r}"
        )
    read_config(path)
    from huggingface_hub import HfApi

    api = HfApi()
    api.create_repo(name, exist_ok=True)
    api.upload_folder(repo_id=name, folder_path=os.fspath(path))


def export_safetensors(path, file):
    """Writes a saved adapter as one safetensors file.

    Needs the extra `safetensors`. What `adapter.json` says is in the file's
    metadata, under `"adapter"`.

    Args:
        path: directory that `save_adapter` wrote.
        file: path of the file.

    Raises:
        FileNotFoundError: if there is no adapter.
        ValueError: if it is damaged.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.save_adapter("my_task")
    keras_pointpeft.adapters.export_safetensors("my_task", "file.safetensors")
    ```
    """
    from safetensors.numpy import save_file

    directory = local_directory(path)
    read_config(directory)
    config = (directory / CONFIG_FILE).read_text(encoding="utf-8")
    with open_h5(directory / WEIGHTS_FILE) as h5:
        arrays = {name: found[()] for name, found in data_sets(h5).items()}
    with whole_file(file) as place:
        save_file(arrays, place, metadata={"adapter": config})


def import_safetensors(file, path):
    """Writes a directory that `load_adapter` takes from a safetensors file.

    Args:
        file: path of a file that `export_safetensors` wrote.
        path: directory to write to; made if it does not exist.

    Raises:
        ValueError: if the file is no adapter that `export_safetensors` wrote.

    Example:
    ```python
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.save_adapter("my_task")
    keras_pointpeft.adapters.export_safetensors("my_task", "file.safetensors")
    keras_pointpeft.adapters.import_safetensors("file.safetensors", "again")
    ```
    """
    from safetensors import safe_open

    with safe_open(file, framework="numpy") as tensors:
        metadata = tensors.metadata() or {}
        if "adapter" not in metadata:
            raise ValueError(
                "This is no file that `export_safetensors` wrote. "
                f"Received: {str(file)!r}"
            )
        arrays = {name: tensors.get_tensor(name) for name in tensors.keys()}
    write_adapter(path, arrays, metadata["adapter"])
