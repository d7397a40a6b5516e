"""ModelNet40 and ModelNet10 in the three layouts that are in use."""

import glob
import os

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import BadClouds
from keras_pointpeft.data.checks import allocate
from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.checks import usable_clouds
from keras_pointpeft.data.clouds import as_floats
from keras_pointpeft.data.h5_files import open_h5
from keras_pointpeft.data.h5_files import read_array
from keras_pointpeft.data.normalization import prepared
from keras_pointpeft.data.restricted_pickle import load_arrays
from keras_pointpeft.data.splits import Split
from keras_pointpeft.data.text_files import read_lines
from keras_pointpeft.data.text_files import read_table
from keras_pointpeft.files.progress import telling

CLASS_NAMES = {
    10: (
        "bathtub bed chair desk dresser monitor night_stand sofa table toilet"
    ).split(),
    40: (
        "airplane bathtub bed bench bookshelf bottle bowl car chair cone cup "
        "curtain desk door dresser flower_pot glass_box guitar keyboard lamp "
        "laptop mantel monitor night_stand person piano plant radio "
        "range_hood sink sofa stairs stool table tent toilet tv_stand vase "
        "wardrobe xbox"
    ).split(),
}
LAYOUTS = ("dat", "h5", "txt")


@telling("reading clouds")
def load_modelnet(
    data_dir,
    split: str = "train",
    num_classes: int = 40,
    layout: str | None = None,
    num_points: int | None = None,
    normalize: bool = True,
    on_bad: str = "raise",
    max_bytes: int = MAX_BYTES,
) -> Split:
    """Loads [ModelNet](https://arxiv.org/abs/1406.5670)40 or 10.

    | layout | files |
    |---|---|
    | "dat" | `modelnet40_{train,test}_8192pts_fps.dat` (Point-BERT), 8192 points in FPS order |
    | "h5" | `ply_data_{train,test}*.h5`, in the order of `{train,test}_files.txt` where it is there |
    | "txt" | `modelnet40_shape_names.txt`, `modelnet40_{train,test}.txt` and `<class>/<shape>.txt`, 10,000 points `x,y,z,nx,ny,nz` |

    Normals are not read. The .dat files are pickles; they are read without
    running anything that they hold.

    Args:
        data_dir: string, the folder.
        split: "train" or "test".
        num_classes: 40 or 10.
        layout: one of the above. Defaults to None: the first that is there.
        num_points: int, keep the first points of each cloud. Defaults to
            None, all; all clouds must then have equally many.
        normalize: bool, centre and scale to the unit sphere (of all points
            that are in the file), as published. Defaults to True.
        on_bad: "raise", or "skip" to leave out clouds with NaN, infinity, a
            label out of range or another number of points than most.
        max_bytes: int, refuse files that declare more.

    Returns:
        `Split`.

    Raises:
        FileNotFoundError: names the files that were expected.
        pickle.UnpicklingError: a .dat that holds more than arrays.
        ValueError: a damaged or wrong file, or bad clouds.

    Example:

    ```python
    import keras_pointpeft

    train = keras_pointpeft.data.load_modelnet(
        "ModelNet/modelnet40_normal_resampled", split="train"
    )
    ```
    """  # noqa: E501
    check_choice("split", split, ("train", "test"))
    check_choice("num_classes", num_classes, CLASS_NAMES)
    if layout is None:
        layout = _find_layout(data_dir, split, num_classes)
    check_choice("layout", layout, LAYOUTS)
    read = {"dat": _read_dat, "h5": _read_h5, "txt": _read_txt}[layout]
    names = _shape_names(data_dir, num_classes)
    clouds, labels, ids = read(data_dir, split, num_classes, names, max_bytes)
    source = f"{data_dir} (ModelNet{num_classes}, {layout}, {split})"
    bad = BadClouds(source, on_bad, len(clouds))
    points, kept = _stack(clouds, num_points, normalize, ids, bad, max_bytes)
    labels, ids = labels[kept], [ids[i] for i in kept]
    keep = usable_clouds(points, labels, len(names), ids, bad)
    bad.settle()
    name = f"ModelNet{num_classes} {split}"
    ids = [i for i, k in zip(ids, keep) if k]
    if not keep.all():
        points, labels = points[keep], labels[keep]
    return Split(points, labels, names, ids, name)


def _files(data_dir, split, num_classes):
    """Layout -> the pattern that shows that it is there."""
    return {
        "dat": f"modelnet{num_classes}_{split}_*pts*.dat",
        "h5": f"ply_data_{split}*.h5",
        "txt": f"modelnet{num_classes}_{split}.txt",
    }


def _find_layout(data_dir, split, num_classes):
    patterns = _files(data_dir, split, num_classes)
    for layout, pattern in patterns.items():
        if glob.glob(os.path.join(glob.escape(data_dir), pattern)):
            return layout
    expected = "\n".join(
        f"  {layout}: {os.path.join(data_dir, pattern)}"
        for layout, pattern in patterns.items()
    )
    there = (
        sorted(os.listdir(data_dir))[:8]
        if os.path.isdir(data_dir)
        else "no such folder"
    )
    raise FileNotFoundError(
        f'No file of ModelNet{num_classes}, split "{split}", was found. '
        f"Expected one of\n{expected}\nReceived: {data_dir} with {there}"
    )


def _matching(data_dir, split, num_classes, layout):
    pattern = _files(data_dir, split, num_classes)[layout]
    found = sorted(glob.glob(os.path.join(glob.escape(data_dir), pattern)))
    if not found:
        raise FileNotFoundError(
            f'ModelNet{num_classes}, layout "{layout}", split "{split}" '
            f"needs {os.path.join(data_dir, pattern)}. Received: no such file"
        )
    return found


def _shape_names(data_dir, num_classes):
    for name in (f"modelnet{num_classes}_shape_names.txt", "shape_names.txt"):
        path = os.path.join(data_dir, name)
        if os.path.isfile(path):
            names = read_lines(path)
            if len(names) != num_classes:
                raise ValueError(
                    f"{path} must name {num_classes} classes. "
                    f"Received: {len(names)}"
                )
            return tuple(names)
    return tuple(CLASS_NAMES[num_classes])


def _read_dat(data_dir, split, num_classes, names, max_bytes):
    found = _matching(data_dir, split, num_classes, "dat")
    # Published: 8192 points. Take the largest where there are several.
    path = max(found, key=os.path.getsize)
    content = load_arrays(path, max_bytes)
    if not isinstance(content, (list, tuple)) or len(content) != 2:
        raise ValueError(
            f"{path} must hold two lists, clouds and labels. "
            f"Received: {type(content).__name__}"
        )
    if not all(isinstance(x, (list, tuple, np.ndarray)) for x in content):
        raise ValueError(
            f"{path} must hold two lists, clouds and labels. "
            f"Received: {[type(x).__name__ for x in content]}"
        )
    clouds, labels = content
    if len(clouds) != len(labels):
        raise ValueError(
            f"{path} must hold as many labels as clouds. "
            f"Received: {len(clouds)} clouds, {len(labels)} labels"
        )
    ids = [f"{split}_{i:05d}" for i in range(len(clouds))]
    return clouds, _label_array(path, labels), ids


def _read_h5(data_dir, split, num_classes, names, max_bytes):
    listing = os.path.join(data_dir, f"{split}_files.txt")
    if os.path.isfile(listing):
        # The published list has another folder's path before each name.
        paths = [
            os.path.join(data_dir, os.path.basename(line))
            for line in read_lines(listing)
        ]
        missing = [path for path in paths if not os.path.isfile(path)]
        if missing:
            raise FileNotFoundError(
                f"{listing} lists files that are not there. Received: {missing}"
            )
    else:
        paths = _matching(data_dir, split, num_classes, "h5")
    clouds, labels, ids = [], [], []
    for path in paths:
        with open_h5(path) as file:
            shape = (None, None, 3)
            data = read_array(file, "data", shape, max_bytes=max_bytes)
            label = read_array(file, "label", kinds="iu", max_bytes=max_bytes)
        if label.size != len(data):
            raise ValueError(
                f"{path}: 'label' must have one entry for each of the "
                f"{len(data)} clouds. Received: shape {label.shape}"
            )
        clouds.extend(data)
        labels.append(label.reshape(-1).astype("int64"))
        stem = os.path.splitext(os.path.basename(path))[0]
        ids.extend(f"{stem}/{i}" for i in range(len(data)))
    return clouds, np.concatenate(labels), ids


def _read_txt(data_dir, split, num_classes, names, max_bytes):
    (listing,) = _matching(data_dir, split, num_classes, "txt")
    ids = read_lines(listing)
    clouds, labels = [], []
    for shape in ids:
        label = shape.rsplit("_", 1)[0]
        if label not in names or os.path.basename(shape) != shape:
            raise ValueError(
                f"{listing} must list shapes as <class>_<number>, of the "
                f"classes {', '.join(names)}. Received: {shape!r}"
            )
        path = os.path.join(data_dir, label, f"{shape}.txt")
        clouds.append(read_table(path, 3, ","))
        labels.append(names.index(label))
    return clouds, np.array(labels, "int64"), ids


def _stack(clouds, num_points, normalize, ids, bad, max_bytes):
    """Clouds of equal size as one array, and which they are."""
    sizes = [_points_of(cloud) for cloud in clouds]
    known = [s for s in sizes if s]
    if not known:
        raise ValueError(
            f"{bad.source} holds no clouds (points, 3 or more). "
            f"Received: {len(clouds)} entries"
        )
    wanted = num_points or int(np.bincount(known).argmax())
    kept = []
    for index, size in enumerate(sizes):
        if size == wanted or (num_points and size > wanted):
            kept.append(index)
        else:
            need = "at least" if num_points else "as most have,"
            bad.add(ids[index], f"{size} points instead of {need} {wanted}")
    shape = (len(kept), wanted, 3)
    points = allocate(bad.source, shape, max_bytes)
    for row, index in enumerate(kept):
        cloud = as_floats(np.asarray(clouds[index])[:, :3])
        if not np.isfinite(cloud).all():
            points[row] = np.nan  # counted and named with the others
            continue
        points[row] = prepared(cloud, normalize)[:wanted]
    return points, kept


def _points_of(cloud):
    shape = getattr(cloud, "shape", ())
    if len(shape) != 2 or shape[1] < 3 or cloud.dtype.kind not in "fiu":
        return 0
    return shape[0]


def _label_array(path, labels):
    flat = [np.asarray(label).reshape(-1) for label in labels]
    if any(f.size != 1 or f.dtype.kind not in "iu" for f in flat):
        raise ValueError(
            f"{path}: each label must be one integer. "
            f"Received: {[f.tolist() for f in flat[:5]]}"
        )
    return np.array([int(f[0]) for f in flat], "int64")
