"""Data sets by name."""

import dataclasses
import importlib
import inspect

from keras_pointpeft.files.progress import Progress

# name: (module, function, fixed arguments)
DATASETS = {
    "scanobjectnn": (
        "scanobjectnn",
        "load_scanobjectnn",
        {"variant": "hardest"},
    ),
    "scanobjectnn_objbg": (
        "scanobjectnn",
        "load_scanobjectnn",
        {"variant": "objbg"},
    ),
    "scanobjectnn_objonly": (
        "scanobjectnn",
        "load_scanobjectnn",
        {"variant": "objonly"},
    ),
    "modelnet40": ("modelnet", "load_modelnet", {"num_classes": 40}),
    "modelnet10": ("modelnet", "load_modelnet", {"num_classes": 10}),
    "h5": ("h5_clouds", "load_h5", {}),
    "folder": ("folder", "load_folder", {}),
    "shapenetpart": ("shapenet", "load_shapenetpart", {}),
    "shapenet55": ("shapenet", "load_shapenet55", {}),
    "s3dis": ("s3dis", "load_s3dis", {}),
    "shapes": ("procedural", "load_shapes", {}),
    "programs": ("procedural", "load_programs", {}),
    "rooms": ("procedural", "load_rooms", {}),
}
# Made, not read.
PROCEDURAL = ("shapes", "programs", "rooms")


def list_datasets() -> list[str]:
    """The names that `load` knows.

    Example:
    ```python
    from keras_pointpeft.data import list_datasets

    assert "shapes" in list_datasets()
    ```
    """
    return sorted(DATASETS)


def load(name: str, data_dir=None, split: str = "train", **options):
    """Loads a split of a data set by the set's name.

    Args:
        name: string, one of `list_datasets()`.
        data_dir: string, where its files are; the procedural "shapes" and
            "rooms" have none.
        split: string, "train" or "test"; some sets have more.
        **options: arguments of the set's own loader.

    Returns:
        `Split`; for "s3dis" and "rooms" a list of `Room`.

    Raises:
        ValueError: unknown name or option, or no `data_dir` where one is
            needed.
        FileNotFoundError: names the files that were expected.

    Example:
    ```python
    import keras_pointpeft

    train = keras_pointpeft.data.load("shapes", num_clouds=40, split="train")
    ```
    """
    if name not in DATASETS:
        raise ValueError(
            f"Unknown data set; known are {list_datasets()}. Received: {name!r}"
        )
    module, function, fixed = DATASETS[name]
    module = importlib.import_module(f"keras_pointpeft.data.{module}")
    loader = getattr(module, function)
    taken = inspect.signature(loader).parameters
    taken = [k for k in taken if k not in (*fixed, "data_dir", "split")]
    unknown = sorted(set(options) - set(taken))
    if unknown:
        raise ValueError(
            f'The options of "{name}" are {taken}. Received: {unknown}'
        )
    arguments = {**options, **fixed, "split": split}
    if name in PROCEDURAL:
        if data_dir is not None:
            raise ValueError(
                f"The {name} are made, not read: they have no `data_dir`. "
                f"Received: {data_dir!r}"
            )
    elif data_dir is None:
        raise ValueError(
            f'"{name}" is read from files and needs `data_dir`, their '
            "folder. Received: None"
        )
    else:
        arguments["data_dir"] = data_dir
    with Progress(f"reading {name}, {split}"):
        loaded = loader(**arguments)
    if isinstance(loaded, list):
        return loaded
    source = {**options, **(loaded.source or {}), "dataset": name}
    return dataclasses.replace(loaded, source=source)
