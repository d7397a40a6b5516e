"""S3DIS rooms, for semantic segmentation.

Rooms are `Area_<n>_<room>.npy` with rows `x y z r g b label`, metres and z
up, the layout that PointNet's preparation scripts write.
"""

import os
from dataclasses import dataclass

import numpy as np

from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import BadClouds
from keras_pointpeft.data.checks import check_size

CLASS_NAMES = (
    "ceiling",
    "floor",
    "wall",
    "beam",
    "column",
    "window",
    "door",
    "table",
    "chair",
    "sofa",
    "bookcase",
    "board",
    "clutter",
)


@dataclass(frozen=True, eq=False)
class Room:
    """One room.

    Args:
        points: float32 array `(points, 3)`, in metres, z up.
        labels: int32 array `(points,)`.
        name: string.
        colors: optional float32 array `(points, 3)`, 0 to 255.
    """

    points: np.ndarray
    labels: np.ndarray
    name: str
    colors: np.ndarray | None = None


def load_s3dis(
    data_dir,
    split: str = "train",
    test_area: int | str = 5,
    class_names=CLASS_NAMES,
    on_bad: str = "raise",
    max_bytes: int = MAX_BYTES,
) -> list[Room]:
    """Loads the rooms of [S3DIS](https://arxiv.org/abs/1702.01105).

    Args:
        data_dir: string, the folder of `Area_<n>_<room>.npy`; subfolders
            `Area_<n>` are looked into too.
        split: "train", all areas but one, or "test", that one.
        test_area: int or string. Defaults to 5, as published.
        class_names: sequence of strings; other scans in this layout have
            others. Defaults to the 13 classes of S3DIS.
        on_bad: "raise", or "skip" to leave out rooms that cannot be read, or
            have NaN, infinity or labels out of range.
        max_bytes: int, refuse files that declare more.

    Returns:
        List of `Room`, by name.

    Raises:
        FileNotFoundError: names the files that were expected.
        ValueError: damaged or wrong files.

    Example:

    ```python
    import keras_pointpeft

    rooms = keras_pointpeft.data.load_s3dis("stanford_indoor3d", "test")
    ```
    """
    if split not in ("train", "test"):
        raise ValueError(
            f'`split` must be "train" or "test". Received: {split!r}'
        )
    test = f"Area_{test_area}_"
    paths = [
        path
        for path in _room_paths(os.fspath(data_dir))
        if os.path.basename(path).startswith(test) == (split == "test")
    ]
    if not paths:
        wanted = f"{test}*.npy" if split == "test" else f"not {test}*.npy"
        raise FileNotFoundError(
            f'No room of the split "{split}" was found. Expected '
            f"{os.path.join(data_dir, 'Area_<n>_<room>.npy')} ({wanted}). "
            f"Received: {len(_room_paths(os.fspath(data_dir)))} rooms"
        )
    bad = BadClouds(data_dir, on_bad, len(paths))
    rooms = []
    for path in paths:
        try:
            room = _read_room(path, max_bytes)
        except ValueError as error:
            bad.add(os.path.basename(path), str(error))
            continue
        wrong = (room.labels < 0) | (room.labels >= len(class_names))
        infinite = ~np.isfinite(room.points).all(axis=1)
        if infinite.any():
            bad.add(room.name, f"{infinite.sum()} points with NaN or infinity")
        elif wrong.any():
            bad.add(
                room.name,
                f"{wrong.sum()} labels outside of 0..{len(class_names) - 1}",
            )
        else:
            rooms.append(room)
    bad.settle()
    return rooms


def draw_column(room: Room, num_points, rng, size=1.0, min_points=1024):
    """Draws points from a vertical column around a random point.

    As published: the column is `size` wide in x and y, around a point of the
    room such that it holds more than `min_points` points. x and y become
    relative to its centre, z stays the height; all are given in units of
    `size`, so that wider columns look alike.

    Args:
        room: `Room`.
        num_points: int; drawn without replacement where there are enough.
        rng: `numpy.random.Generator`.
        size: float, in metres. Defaults to 1.
        min_points: int. Defaults to 1024.

    Returns:
        `(points, labels)`, `(num_points, 3)` and `(num_points,)`.

    Raises:
        ValueError: 100 columns had too few points.
    """
    for _ in range(100):
        center = room.points[rng.integers(len(room.points)), :2]
        near = np.abs(room.points[:, :2] - center) <= size / 2
        inside = np.flatnonzero(near.all(axis=1))
        if len(inside) > min_points:
            break
    else:
        raise ValueError(
            f"100 columns of {room.name} had too few points; give a smaller "
            f"`min_points` or a larger `size`. Received: "
            f"min_points={min_points}, size={size}"
        )
    few = len(inside) < num_points
    chosen = rng.choice(inside, num_points, replace=few)
    points = room.points[chosen].copy()
    points[:, :2] -= center
    return points / np.float32(size), room.labels[chosen]


def cover_room(room: Room, num_points, rng, size=1.0, stride=0.5):
    """Divides a room into columns so that every point is in at least one.

    Columns of `size` in steps of `stride` over the room; each is divided at
    random into blocks of `num_points`, the last one filled by repeating.

    Args:
        room: `Room`.
        num_points: int.
        rng: `numpy.random.Generator`.
        size, stride: floats, in metres. Default to 1 and 0.5.

    Returns:
        `(points, indices)`: blocks `(blocks, num_points, 3)`, relative as in
        `draw_column`, and the place of each point in the room,
        `(blocks, num_points)`.
    """
    if not 0 < stride <= size:
        raise ValueError(
            "`stride` must lie between 0 and `size`, or points are missed. "
            f"Received: stride={stride}, size={size}"
        )
    flat = room.points[:, :2]
    low = flat.min(axis=0)
    extent = np.maximum(flat.max(axis=0) - low - size, 0)
    steps = np.ceil(extent / stride).astype(int) + 1
    blocks, centers = [], []
    # Rows of columns: only the points of a row are looked at for its columns.
    order = np.argsort(flat[:, 0], kind="stable")
    sorted_x = flat[order, 0]
    for i in range(steps[0]):
        left = low[0] + i * stride
        # A column reaches to both of its edges, so that none is missed.
        begin = np.searchsorted(sorted_x, left - 1e-3, "left")
        end = np.searchsorted(sorted_x, left + size + 1e-3, "right")
        row = order[begin:end]
        for j in range(steps[1]):
            bottom = low[1] + j * stride
            y = flat[row, 1]
            inside = row[(y >= bottom - 1e-3) & (y <= bottom + size + 1e-3)]
            if not len(inside):
                continue
            inside = rng.permutation(inside)
            fill = -len(inside) % num_points
            extra = rng.choice(inside, fill, replace=fill > len(inside))
            inside = np.concatenate([inside, extra])
            blocks.append(inside.reshape(-1, num_points))
            center = (left + size / 2, bottom + size / 2)
            centers += [center] * len(blocks[-1])
    indices = np.concatenate(blocks)
    points = room.points[indices]
    points[..., :2] -= np.array(centers, "float32")[:, None]
    points /= np.float32(size)
    return points, indices


def _room_paths(data_dir):
    found = []
    folders = [data_dir]
    if os.path.isdir(data_dir):
        folders += sorted(
            entry.path
            for entry in os.scandir(data_dir)
            if entry.is_dir() and entry.name.startswith("Area_")
        )
    for folder in folders:
        if os.path.isdir(folder):
            found += [
                os.path.join(folder, name)
                for name in sorted(os.listdir(folder))
                if name.startswith("Area_") and name.endswith(".npy")
            ]
    return found


def _read_room(path, max_bytes):
    try:
        # A header that declares more than the file holds fails to map.
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(
            f"{path} is not a complete array file. Received: {error}"
        ) from error
    wide = table.ndim == 2 and table.shape[1] >= 7 and len(table)
    if not wide or table.dtype.kind not in "fiu":
        raise ValueError(
            f"{path} must hold rows x y z r g b label. "
            f"Received: {table.dtype} of shape {table.shape}"
        )
    check_size(path, table.shape, "float32", max_bytes)
    name = os.path.splitext(os.path.basename(path))[0]
    labels = table[:, 6]
    return Room(
        np.array(table[:, :3], "float32"),
        np.where(np.isfinite(labels), labels, -1).astype("int32"),
        name,
        np.array(table[:, 3:6], "float32"),
    )
