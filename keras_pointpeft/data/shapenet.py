"""ShapeNetPart and ShapeNet-55."""

import json
import os

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import UNLABELLED
from keras_pointpeft.data.checks import BadClouds
from keras_pointpeft.data.checks import allocate
from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.checks import existing_file
from keras_pointpeft.data.geometry_files import read_cloud
from keras_pointpeft.data.normalization import prepared
from keras_pointpeft.data.shapenet_h5 import is_h5_layout
from keras_pointpeft.data.shapenet_h5 import load_h5_parts
from keras_pointpeft.data.splits import Split
from keras_pointpeft.data.text_files import read_lines
from keras_pointpeft.data.text_files import read_table
from keras_pointpeft.files.progress import telling
from keras_pointpeft.files.progress import track

PART_FOLDER = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
_PART_SPLITS = {
    "train": ("train",),
    "val": ("val",),
    "trainval": ("train", "val"),
    "test": ("test",),
}


@telling("reading clouds")
def load_shapenetpart(
    data_dir,
    split: str = "trainval",
    num_points: int | None = 2048,
    normalize: bool = True,
    num_parts: int | None = None,
    seed: int = 0,
    on_bad: str = "raise",
    max_bytes: int = MAX_BYTES,
) -> Split:
    """Loads ShapeNetPart from the official text files, or PointNet's h5.

    [ShapeNetPart](https://web.stanford.edu/~ericyi/project_page/part_annotation/),
    `shapenetcore_partanno_segmentation_benchmark_v0_normal`: 16 categories,
    50 parts, files `<synset>/<shape>.txt` of lines `x y z nx ny nz part`.
    The shapes have different numbers of points (about 2,600). As published,
    `num_points` are drawn with replacement after the normalisation; here once,
    with `seed`. With `num_points=None` all points are kept and smaller shapes
    filled by repeating points, so that `PointCloudDataset` draws new ones in
    each epoch.

    A folder with `train_hdf5_file_list.txt`, PointNet's `hdf5_data`, is read
    too; its clouds have 2048 points, are normalised, and stay as they are.

    Args:
        data_dir: string, that folder or the one around it.
        split: "train", "val", "trainval" (published for training) or "test".
        num_points: int or None. Defaults to 2048.
        normalize: bool, centre and scale to the unit sphere.
        num_parts: int, refuse part labels from there on. Defaults to None:
            50 for the 16 official categories, else no limit.
        seed: int.
        on_bad: "raise", or "skip" to leave out unusable shapes.
        max_bytes: int, refuse to allocate more.

    Returns:
        `Split` with `part_labels` `(clouds, points)`, numbered over all
        categories, and -1 where a point has none (-1 or 255 in the file);
        classes are the categories, in the file's order.

    Raises:
        FileNotFoundError: names the files that were expected.
        ValueError: damaged or wrong files.

    Example:

    ```python
    import keras_pointpeft

    train = keras_pointpeft.data.load_shapenetpart("ShapeNetPart")
    ```
    """
    check_choice("split", split, _PART_SPLITS)
    if is_h5_layout(data_dir):
        return load_h5_parts(
            data_dir, _PART_SPLITS[split], num_parts, on_bad, max_bytes
        )
    categories = existing_file(
        [
            os.path.join(data_dir, "synsetoffset2category.txt"),
            os.path.join(data_dir, PART_FOLDER, "synsetoffset2category.txt"),
        ],
        "ShapeNetPart (the categories)",
    )
    root = os.path.dirname(categories)
    class_names, synsets = _categories(categories)
    if num_parts is None and len(class_names) == 16:
        num_parts = 50
    files = _part_files(root, split, synsets)
    bad = BadClouds(f"{root} ({split})", on_bad, len(files))
    tables, labels, ids = [], [], []
    for place, label in track(files, "reading shapes"):
        path = os.path.join(root, *place.split("/")) + ".txt"
        try:
            table = read_table(path, (0, 1, 2, 6))
        except ValueError as error:
            bad.add(place, str(error), path)
            continue
        table[np.isin(table[:, 3], UNLABELLED), 3] = -1
        part = table[:, 3]
        if not np.isfinite(table).all():
            bad.add(place, "NaN or infinity")
        elif (part != np.floor(part)).any() or part.min() < -1:
            bad.add(place, "part labels that are not integers from 0")
        elif num_parts is not None and part.max() >= num_parts:
            bad.add(place, f"part label {part.max():.0f} of {num_parts}")
        else:
            tables.append(table)
            labels.append(label)
            ids.append(place)
    bad.settle()
    wanted = num_points or max((len(t) for t in tables), default=0)
    shape = (len(tables), wanted, 3)
    points = allocate(f"{root} ({split})", shape, max_bytes)
    parts = np.empty(shape[:2], "int32")
    for row, table in enumerate(tables):
        cloud = prepared(table[:, :3], normalize)
        rng = np.random.default_rng((seed, row))
        chosen = rng.integers(0, len(table), wanted)
        if num_points is None:
            chosen[: len(table)] = np.arange(len(table))
        points[row], parts[row] = cloud[chosen], table[chosen, 3]
    return Split(
        points, labels, class_names, ids, f"ShapeNetPart {split}", parts
    )


def load_shapenet55(
    data_dir,
    split: str = "train",
    num_points: int | None = None,
    normalize: bool = True,
    seed: int = 0,
    on_bad: str = "raise",
    max_bytes: int = MAX_BYTES,
    storage=None,
) -> Split:
    """Loads ShapeNet-55, the set that the backbones are pre-trained on.

    As published with [PoinTr](https://arxiv.org/abs/2108.08839):
    `ShapeNet-55/{train,test}.txt` list `<synset>-<shape>.npy` in
    `shapenet_pc/`, 8192 points each, 41,952 and 10,518 shapes. All points of
    the training part take 4 GB.

    Args:
        data_dir: string, the folder that holds `ShapeNet-55` and
            `shapenet_pc`.
        split: "train" or "test".
        num_points: int, keep a random choice, to save memory; shapes with
            fewer points are unusable. Defaults to None, all: then those that
            have not as many as the first usable shape are unusable.
        normalize: bool, centre and scale to the unit sphere (what is kept,
            as published).
        seed: int.
        on_bad: "raise", or "skip" to leave out unusable shapes.
        max_bytes: int, refuse to allocate more.
        storage: optional path of a .npy file to write the points to. They
            then stay on the disk and are mapped into memory.

    Returns:
        `Split`; the classes are the synsets.

    Raises:
        FileNotFoundError: names the files that were expected.
        ValueError: counts and names the unusable shapes.

    Example:

    ```python
    import keras_pointpeft

    train = keras_pointpeft.data.load_shapenet55(
        "ShapeNet55-34", num_points=2048
    )
    ```
    """
    check_choice("split", split, ("train", "test"))
    listing = existing_file(
        [os.path.join(data_dir, "ShapeNet-55", f"{split}.txt")],
        f'ShapeNet-55, split "{split}"',
    )
    names = read_lines(listing)
    for name in names:
        if os.path.basename(name) != name or not name.endswith(".npy"):
            raise ValueError(
                f"{listing} must list files <synset>-<shape>.npy. "
                f"Received: {name!r}"
            )
    synsets = sorted({name.split("-")[0] for name in names})
    bad = BadClouds(listing, on_bad, len(names))
    points, labels, ids, first = None, [], [], None
    for number, name in enumerate(track(names, "reading shapes")):
        path = os.path.join(data_dir, "shapenet_pc", name)
        try:
            cloud = read_cloud(path, max_bytes=max_bytes)
        except ValueError as error:
            bad.add(name, str(error), path)
            continue
        if not np.isfinite(cloud).all():
            bad.add(name, "NaN or infinity")
            continue
        if num_points is not None:
            if len(cloud) < num_points:
                bad.add(name, f"{len(cloud)} points, fewer than {num_points}")
                continue
            rng = np.random.default_rng((seed, number))
            cloud = cloud[rng.permutation(len(cloud))[:num_points]]
        try:
            cloud = prepared(cloud, normalize)
        except ValueError as error:
            bad.add(name, str(error))
            continue
        if points is None:
            first, shape = name, (len(names), len(cloud), 3)
            points = allocate(listing, shape, max_bytes, storage)
        if len(cloud) != points.shape[1]:
            size = points.shape[1]
            bad.add(name, f"{len(cloud)} points, not {size} as {first}")
            continue
        points[len(ids)] = cloud
        labels.append(synsets.index(name.split("-")[0]))
        ids.append(name.removesuffix(".npy"))
    bad.settle()
    if points is None:
        raise ValueError(
            f"{listing} lists no shape that can be used. "
            f"Received: {len(names)} lines"
        )
    points = points[: len(ids)]
    return Split(points, labels, synsets, ids, f"ShapeNet-55 {split}")


def _categories(path):
    """Names, and synset -> label, in the order of the file."""
    rows = [line.split() for line in read_lines(path)]
    if not rows or any(len(row) != 2 for row in rows):
        raise ValueError(
            f"{path} must hold lines of a name and a synset. "
            f"Received: {rows[:3]}"
        )
    return [row[0] for row in rows], {row[1]: i for i, row in enumerate(rows)}


def _part_files(root, split, synsets):
    """Places `<synset>/<shape>` with labels."""
    files = []
    for part in _PART_SPLITS[split]:
        name = f"shuffled_{part}_file_list.json"
        path = existing_file(
            [os.path.join(root, "train_test_split", name)],
            f'ShapeNetPart, split "{part}"',
        )
        with open(path, encoding="utf-8") as file:
            try:
                listed = json.load(file)
            except ValueError as error:
                raise ValueError(
                    f"{path} must be a JSON list. Received: {error}"
                ) from error
        if not isinstance(listed, list):
            raise ValueError(
                f"{path} must be a JSON list. Received: {type(listed).__name__}"
            )
        for entry in listed:
            # "shape_data/<synset>/<shape>"
            pieces = str(entry).split("/")[-2:]
            if len(pieces) != 2 or pieces[0] not in synsets or ".." in pieces:
                raise ValueError(
                    f"{path} must list shape_data/<synset>/<shape> of the "
                    f"listed categories. Received: {entry!r}"
                )
            files.append(("/".join(pieces), synsets[pieces[0]]))
    return files
