"""Any folder of clouds or meshes, one folder for each class."""

import os

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import BadClouds
from keras_pointpeft.data.checks import allocate
from keras_pointpeft.data.geometry_files import EXTENSIONS
from keras_pointpeft.data.geometry_files import read_cloud
from keras_pointpeft.data.normalization import unit_sphere
from keras_pointpeft.data.splits import Split


def load_folder(
    data_dir,
    split: str | None = "train",
    num_points: int = 2048,
    normalize: bool = True,
    repeat_points: bool = False,
    seed: int = 0,
    on_bad: str = "raise",
    max_bytes: int = MAX_BYTES,
    storage=None,
) -> Split:
    """Loads clouds and meshes from `<class>/<file>`.

    The files of a split lie in `<split>/<class>/` or `<class>/<split>/` (the
    layout of ModelNet's .off files); without either, all files are loaded
    with `split=None`. Of a mesh, `num_points` points of the surface are
    drawn; of a cloud that has more points, a random choice. What is drawn
    depends on `seed` and the file's place alone.

    Args:
        data_dir: string, the folder.
        split: string or None, see above.
        num_points: int. Defaults to 2048.
        normalize: bool, centre and scale to the unit sphere.
        repeat_points: bool, fill smaller clouds by repeating points, rather
            than to treat them as bad. Defaults to False.
        seed: int.
        on_bad: "raise", or "skip" to leave out files that cannot be read,
            hold NaN or infinity, or have too few points, with a warning.
        max_bytes: int, refuse to allocate more.
        storage: optional path of a .npy file to write the points to. They
            then stay on the disk and are mapped into memory, so that a set
            larger than the memory can be trained on.

    Returns:
        `Split`; classes in alphabetical order, the files' places as ids.

    Raises:
        FileNotFoundError: there are no files in these places.
        ValueError: bad files.
        ImportError: meshes need `trimesh`, .las and .laz `laspy`.

    Example:

    ```python
    import keras_pointpeft

    train = keras_pointpeft.data.load_folder("ModelNet10", split="train")
    ```
    """
    files, class_names = _find(os.fspath(data_dir), split)
    bad = BadClouds(data_dir, on_bad, len(files))
    shape = (len(files), num_points, 3)
    what = f"{data_dir} with {len(files)} files"
    points = allocate(what, shape, max_bytes, storage)
    labels, ids = [], []
    for number, (path, label) in enumerate(files):
        place = os.path.relpath(path, data_dir).replace(os.sep, "/")
        rng = np.random.default_rng((seed, number))
        try:
            cloud = read_cloud(path, num_points, rng, max_bytes)
        except ValueError as error:
            bad.add(place, str(error))
            continue
        wrong = int((~np.isfinite(cloud).all(axis=1)).sum())
        if wrong:
            bad.add(place, f"{wrong} points with NaN or infinity")
            continue
        if len(cloud) < num_points and not repeat_points:
            bad.add(place, f"{len(cloud)} points, fewer than {num_points}")
            continue
        cloud = cloud[_chosen(len(cloud), num_points, rng)]
        points[len(ids)] = unit_sphere(cloud) if normalize else cloud
        labels.append(label)
        ids.append(place)
    bad.settle()
    name = os.path.basename(os.path.abspath(data_dir))
    return Split(
        points[: len(ids)],
        labels,
        class_names,
        ids,
        name if split is None else f"{name} {split}",
    )


def _chosen(available, wanted, rng):
    if available == wanted:
        return slice(None)
    if available > wanted:
        return rng.permutation(available)[:wanted]
    return np.concatenate(
        [np.arange(available), rng.integers(0, available, wanted - available)]
    )


def _find(data_dir, split):
    """Paths with labels, and the names of the classes."""
    if split is None:
        root, middle = data_dir, ""
    elif os.path.isdir(os.path.join(data_dir, split)):
        root, middle = os.path.join(data_dir, split), ""
    else:
        root, middle = data_dir, split
    classes = _folders(root)
    files = []
    for label, name in enumerate(classes):
        folder = os.path.join(root, name, middle)
        if not os.path.isdir(folder):
            continue
        for file in sorted(os.listdir(folder)):
            if os.path.splitext(file)[1].lower() in EXTENSIONS:
                files.append((os.path.join(folder, file), label))
    if not files:
        places = [os.path.join(data_dir, "<class>", "<file>")]
        if split is not None:
            places = [
                os.path.join(data_dir, split, "<class>", "<file>"),
                os.path.join(data_dir, "<class>", split, "<file>"),
            ]
        raise FileNotFoundError(
            f"No clouds were found. Expected {' or '.join(places)} with one "
            f"of {EXTENSIONS}; all files of <class> folders are loaded with "
            f"`split=None`. Received: {data_dir} with the folders "
            f"{_folders(data_dir)[:8]}"
        )
    return files, tuple(classes)


def _folders(path):
    if not os.path.isdir(path):
        return []
    return sorted(e.name for e in os.scandir(path) if e.is_dir())
