"""ScanObjectNN, and any classes in the same h5 layout."""

import os

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import BadClouds
from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.checks import existing_file
from keras_pointpeft.data.checks import usable_clouds
from keras_pointpeft.data.h5_files import open_h5
from keras_pointpeft.data.h5_files import read_array
from keras_pointpeft.data.h5_files import read_class_names
from keras_pointpeft.data.h5_files import read_strings
from keras_pointpeft.data.splits import Split

CLASS_NAMES = (
    "bag",
    "bin",
    "box",
    "cabinet",
    "chair",
    "desk",
    "display",
    "door",
    "shelf",
    "table",
    "bed",
    "pillow",
    "sink",
    "sofa",
    "toilet",
)

# variant: (published name, folder, end of the file's name)
VARIANTS = {
    "hardest": (
        "PB_T50_RS",
        "main_split",
        "objectdataset_augmentedrot_scale75.h5",
    ),
    "objbg": ("OBJ_BG", "main_split", "objectdataset.h5"),
    "objonly": ("OBJ_ONLY", "main_split_nobg", "objectdataset.h5"),
}
_PREFIXES = {"train": ("training", "train"), "test": ("test",)}


def load_scanobjectnn(
    data_dir,
    variant: str = "hardest",
    split: str = "train",
    on_bad: str = "raise",
    max_bytes: int = MAX_BYTES,
) -> Split:
    """Loads ScanObjectNN from the official h5 files.

    [ScanObjectNN](https://arxiv.org/abs/1908.04616): 2048 points a cloud,
    15 classes, in file order and not normalised, as published.

    | variant | published name | files | train / test |
    |---|---|---|---|
    | `"hardest"` | PB_T50_RS | `main_split/*objectdataset_augmentedrot_scale75.h5` | 11,416 / 2,882 |
    | `"objbg"` | OBJ_BG | `main_split/*objectdataset.h5` | 2,309 / 581 |
    | `"objonly"` | OBJ_ONLY | `main_split_nobg/*objectdataset.h5` | 2,309 / 581 |

    Args:
        data_dir: string, the folder that holds `main_split` (or
            `h5_files/main_split`), or that folder itself.
        variant: string, see above.
        split: "train" or "test".
        on_bad: "raise", or "skip" to leave out clouds with NaN, infinity or
            a label out of range, with a warning that counts them.
        max_bytes: int, refuse files that declare more.

    Returns:
        `Split`, points `(clouds, 2048, 3)`.

    Raises:
        FileNotFoundError: names the files that were expected.
        ValueError: a damaged or a wrong file, or bad clouds.

    Example:

    ```python
    import keras_pointpeft

    train = keras_pointpeft.data.load_scanobjectnn(
        "ScanObjectNN/h5_files", variant="hardest", split="train"
    )
    ```
    """  # noqa: E501
    check_choice("variant", variant, VARIANTS)
    check_choice("split", split, _PREFIXES)
    published, folder, ending = VARIANTS[variant]
    name = f"{_PREFIXES[split][0]}_{ending}"
    places = [
        os.path.join(data_dir, folder),
        os.path.join(data_dir, "h5_files", folder),
    ]
    # OBJ_BG and OBJ_ONLY have equal file names: the folder must tell.
    if os.path.basename(os.path.abspath(data_dir)) == folder:
        places.insert(0, os.fspath(data_dir))
    path = existing_file(
        [os.path.join(place, name) for place in places],
        f'ScanObjectNN, variant "{variant}" ({published}), split "{split}"',
    )
    return read_h5(
        path,
        CLASS_NAMES,
        f"ScanObjectNN {published} {split}",
        on_bad=on_bad,
        max_bytes=max_bytes,
    )


def load_h5(
    data_dir,
    split: str = "train",
    class_names=None,
    on_bad: str = "raise",
    max_bytes: int = MAX_BYTES,
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

    Returns:
        `Split`.

    Example:

    ```python
    import keras_pointpeft

    test = keras_pointpeft.data.load_h5("my_clouds", split="test")
    ```
    """
    path = os.fspath(data_dir)
    if not os.path.isfile(path):
        check_choice("split", split, (*_PREFIXES, "val"))
        names = [
            f"{prefix}{ending}"
            for prefix in _PREFIXES.get(split, (split,))
            for ending in ("_objectdataset.h5", ".h5")
        ]
        path = existing_file(
            [os.path.join(data_dir, name) for name in names],
            f'h5 clouds, split "{split}"',
        )
    return read_h5(path, class_names, os.path.basename(path), on_bad, max_bytes)


def read_h5(path, class_names, name, on_bad="raise", max_bytes=MAX_BYTES):
    """Reads one h5 file with `data` and `label` into a `Split`."""
    with open_h5(path) as file:
        points = read_array(file, "data", (None, None, 3), "f", max_bytes)
        labels = read_array(file, "label", kinds="iu", max_bytes=max_bytes)
        names = class_names or read_class_names(file)
        ids = parts = None
        if "id" in file:
            ids = read_strings(file, "id", len(points), max_bytes)
        if "pid" in file:
            parts = read_array(
                file, "pid", points.shape[:2], "iu", max_bytes
            ).astype("int32")
    if labels.shape not in ((len(points),), (len(points), 1)):
        raise ValueError(
            f"{path}: 'label' must have one entry for each of the "
            f"{len(points)} clouds. Received: shape {labels.shape}"
        )
    labels = labels.reshape(-1).astype("int64")
    if names is None:
        names = tuple(str(i) for i in range(int(labels.max(initial=-1)) + 1))
    points = np.asarray(points, "float32")
    bad = BadClouds(path, on_bad, len(points))
    keep = usable_clouds(points, labels, len(names), ids, bad)
    bad.settle()
    if keep.all():
        return Split(points, labels, names, ids, name, parts)
    return Split(
        points[keep],
        labels[keep],
        names,
        None if ids is None else tuple(np.array(ids)[keep]),
        name,
        None if parts is None else parts[keep],
    )
