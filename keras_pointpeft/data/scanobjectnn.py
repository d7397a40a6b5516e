"""ScanObjectNN, and any classes in the same h5 layout."""

import os

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.checks import existing_file
from keras_pointpeft.data.h5_clouds import PREFIXES
from keras_pointpeft.data.h5_clouds import load_h5  # noqa: F401
from keras_pointpeft.data.h5_clouds import read_h5
from keras_pointpeft.data.splits import Split
from keras_pointpeft.files.progress import telling

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


@telling("reading clouds")
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
    check_choice("split", split, PREFIXES)
    published, folder, ending = VARIANTS[variant]
    name = f"{PREFIXES[split][0]}_{ending}"
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
