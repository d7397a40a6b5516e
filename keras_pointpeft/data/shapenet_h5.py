"""ShapeNetPart in the layout of PointNet's h5 files."""

import os

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import existing_file
from keras_pointpeft.data.h5_clouds import read_h5
from keras_pointpeft.data.splits import Split
from keras_pointpeft.data.text_files import read_lines

LIST = "{}_hdf5_file_list.txt"


def is_h5_layout(data_dir) -> bool:
    """Whether a folder holds the lists of h5 files."""
    return os.path.isfile(os.path.join(data_dir, LIST.format("train")))


def load_h5_parts(
    data_dir, parts, num_parts, on_bad="raise", max_bytes=MAX_BYTES
) -> Split:
    """Reads the h5 files of a split: `hdf5_data` of PointNet's release.

    `<part>_hdf5_file_list.txt` lists files with `data`
    `(clouds, 2048, 3)`, `label` and `pid` `(clouds, 2048)`;
    `all_object_categories.txt` names the categories.

    Args:
        data_dir: string, that folder.
        parts: tuple of strings, "train", "val" and "test".
        num_parts: int or None, refuse part labels from there on.
        on_bad, max_bytes: see `load_shapenetpart`.

    Returns:
        `Split`.
    """
    names = _category_names(data_dir)
    splits = []
    for part in parts:
        listing = existing_file(
            [os.path.join(data_dir, LIST.format(part))],
            f'ShapeNetPart (h5), split "{part}"',
        )
        for name in read_lines(listing):
            # Only what lies in the folder itself.
            path = os.path.join(data_dir, os.path.basename(name))
            split = read_h5(
                existing_file([path], f"the list {listing}"),
                names,
                os.path.basename(path),
                on_bad,
                max_bytes,
            )
            _check_parts(path, split, num_parts)
            splits.append(split)
    if not splits:
        raise ValueError(f"{data_dir} lists no files. Received: {parts}")
    return Split(
        np.concatenate([split.points for split in splits]),
        np.concatenate([split.labels for split in splits]),
        splits[0].class_names,
        name=f"ShapeNetPart {'+'.join(parts)}",
        part_labels=np.concatenate([split.part_labels for split in splits]),
    )


def _category_names(data_dir):
    path = os.path.join(data_dir, "all_object_categories.txt")
    if not os.path.isfile(path):
        return None
    return tuple(line.split()[0] for line in read_lines(path))


def _check_parts(path, split, num_parts):
    if split.part_labels is None:
        raise ValueError(
            f"{path} has no data set 'pid', the parts of the points. "
            "Received: data and label alone"
        )
    most = int(split.part_labels.max(initial=0))
    least = int(split.part_labels.min(initial=0))
    if least < -1 or (num_parts is not None and most >= num_parts):
        raise ValueError(
            f"{path}: parts must lie in 0..{(num_parts or 0) - 1}. "
            f"Received: {least}..{most}"
        )
