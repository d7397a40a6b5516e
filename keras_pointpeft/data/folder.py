"""Any folder of clouds or meshes, one folder for each class."""

import os
import warnings

import numpy as np

from keras_pointpeft.data.beside import Beside
from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import UNUSABLE
from keras_pointpeft.data.checks import BadClouds
from keras_pointpeft.data.checks import allocate
from keras_pointpeft.data.checks import tell_empty
from keras_pointpeft.data.clouds import draw
from keras_pointpeft.data.clouds import turned
from keras_pointpeft.data.geometry_files import EXTENSIONS
from keras_pointpeft.data.geometry_files import open_content
from keras_pointpeft.data.normalization import check_finite
from keras_pointpeft.data.normalization import placed
from keras_pointpeft.data.splits import Split
from keras_pointpeft.files.folders import files_below
from keras_pointpeft.files.folders import folders_in
from keras_pointpeft.files.progress import Progress

# Folders that are other splits of the same set.
_SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")
# Files of which some points are in memory, before they are normalised.
_TOGETHER = 32


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
    up_axis: str | None = None,
    bin_columns: int | None = None,
    class_names=None,
    part_labels: bool = False,
    channels=(),
    color_range: float | None = None,
) -> Split:
    """Loads clouds and meshes from `<class>/<file>`.

    The files of a split lie in `<split>/<class>/` or `<class>/<split>/` (the
    layout of ModelNet's .off files), or deeper; without either, all files are
    loaded with `split=None`. Of a mesh, `num_points` points of the surface
    are drawn; of a cloud that has more points, a random choice. What is drawn
    depends on `seed` and the file's place alone.

    The classes are the folders of all splits that lie side by side, so that a
    label means the same in each. Hidden files and folders are no part of the
    set; a warning counts the files of other kinds, and names classes that
    have no scan in this split.

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
        up_axis, bin_columns: see `read_cloud`.
        class_names: optional sequence of strings, the classes in the order of
            their labels. Defaults to None: the folders, by the alphabet.
        part_labels: bool, also read a label for each point, for part
            segmentation: a property or column "label" or "classification",
            "labels" of an .npz, the classification of .las. Then the classes
            are the categories; -1 and 255 stand for no label.
        channels: sequence of "colors" (which become 0 to 1), "normals" and
            "intensity", for a backbone with so many `extra_channels`: they
            are read too. A scan without them is a bad one, and so is a mesh.
        color_range: optional float, the number of the brightest colour where
            files do not tell it, as colours of one byte do (255). Defaults to
            None: 1, 255 or 65535, by the brightest scan of this split.
            Another split is given that of the first,
            `train.source["color_range"]`, so that both are scaled alike.

    Returns:
        `Split`, the files' places as ids.

    Raises:
        FileNotFoundError: there are no files in these places.
        ValueError: bad files, or a folder that `class_names` does not name.
        ImportError: meshes and scans need packages that are not installed.

    Example:

    ```python
    import keras_pointpeft

    train = keras_pointpeft.data.load_folder("ModelNet10", split="train")
    ```
    """
    beside = Beside(channels, color_range)
    root = os.path.join(data_dir, "")
    files, class_names = _find(os.fspath(data_dir), split, class_names)
    bad = BadClouds(data_dir, on_bad, len(files))
    shape = (len(files), num_points, 3)
    what = f"{data_dir} with {len(files)} files"
    points = allocate(what, shape, max_bytes, storage)
    labels, ids, parts = [], [], []

    def place_of(path):
        return path.removeprefix(root).replace(os.sep, "/")

    def some_of(path, rng):
        content = open_content(path, num_points, rng, max_bytes, bin_columns)
        count = len(content.points)
        if count < num_points and not repeat_points:
            raise ValueError(f"{count} points, fewer than {num_points}")
        check_finite(content.points)
        brightest = beside.brightest(content)
        return content.take(_chosen(count, num_points, rng)), brightest

    with Progress("reading scans", len(files)) as progress:
        for begin in range(0, len(files), _TOGETHER):
            # All of these files are read, and then all are normalised: a step
            # takes under a millisecond, and is faster while its code is in the
            # CPU's cache.
            some = files[begin : begin + _TOGETHER]
            numbers = range(begin, begin + len(some))
            rngs = [np.random.default_rng((seed, n)) for n in numbers]
            drawn = []
            for (path, label), rng in zip(some, rngs):
                try:
                    drawn.append((path, label, *some_of(path, rng)))
                except UNUSABLE as error:
                    bad.add(place_of(path), str(error), path)
                progress.advance()
            for path, label, content, brightest in drawn:
                try:
                    cloud = turned(content.points, up_axis)
                    points[len(ids)] = placed(cloud, normalize)
                    own = _labels(content) if part_labels else None
                    beside.add(content, up_axis, brightest=brightest)
                except ValueError as error:
                    bad.add(place_of(path), str(error), path)
                    continue
                parts.append(own)
                labels.append(label)
                ids.append(place_of(path))
    bad.settle()
    more = np.stack(beside.settle()) if channels and ids else None
    name = os.path.basename(os.path.abspath(data_dir))
    return Split(
        points[: len(ids)],
        labels,
        class_names,
        ids,
        name if split is None else f"{name} {split}",
        np.stack(parts) if part_labels and parts else None,
        source=beside.source or None,
        channels=more,
    )


def _labels(content):
    if content.labels is None:
        raise ValueError(
            'it must have a label for each point, a property or column "label"'
            ' or "classification". Received: none'
        )
    return content.labels


def _chosen(available, wanted, rng):
    if available == wanted:
        return np.arange(wanted)
    if available > wanted:
        return draw(available, wanted, rng)
    return np.concatenate(
        [np.arange(available), rng.integers(0, available, wanted - available)]
    )


def _find(data_dir, split, class_names):
    """Paths with labels, and the names of the classes."""
    if split is None:
        root, middle, roots = data_dir, "", [data_dir]
    elif os.path.isdir(os.path.join(data_dir, split)):
        root, middle = os.path.join(data_dir, split), ""
        roots = [
            os.path.join(data_dir, name)
            for name in folders_in(data_dir)
            if name == split or name in _SPLITS
        ]
    else:
        root, middle, roots = data_dir, split, [data_dir]
    there = sorted({name for place in roots for name in folders_in(place)})
    names = there if class_names is None else [str(n) for n in class_names]
    found = {
        name: sorted(_files(os.path.join(root, name, middle))) for name in there
    }
    files = [
        (path, name)
        for name in there
        for path in found[name]
        if os.path.splitext(path)[1].lower() in EXTENSIONS
    ]
    if not files:
        raise _nothing(data_dir, split)
    unnamed = sorted({name for _, name in files} - set(names))
    if unnamed:
        raise ValueError(
            f"`class_names` must name every folder with scans of {root}. "
            f"Received: folders {unnamed[:8]} beside {names[:8]}"
        )
    _tell(root, files, found, names)
    return [(path, names.index(name)) for path, name in files], tuple(names)


def _tell(root, files, found, names):
    """Warns of what is not read, and of classes without a scan."""
    read = {path for path, _ in files}
    kinds = {}
    for path in sum(found.values(), []):
        if path not in read:
            kind = os.path.splitext(path)[1].lower() or os.path.basename(path)
            kinds[kind] = kinds.get(kind, 0) + 1
    if kinds:
        counted = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        warnings.warn(
            f"Files of {root} that are not read: {counted[:150]}. Scans are "
            f"read from {' '.join(EXTENSIONS)}",
            stacklevel=4,
        )
    tell_empty(names, {name for _, name in files}, root)


def _nothing(data_dir, split):
    places = [os.path.join("<class>", "<file>")]
    if split is not None:
        places = [
            os.path.join(split, "<class>", "<file>"),
            os.path.join("<class>", split, "<file>"),
        ]
    return FileNotFoundError(
        f"No clouds were found in {data_dir}. Expected {' or '.join(places)}, "
        f"of {' '.join(EXTENSIONS)}; all files of <class> folders are loaded "
        f"with `split=None`. Received: folders {folders_in(data_dir)[:8]}"
    )


def _files(path):
    return files_below(path) if os.path.isdir(path) else ()
