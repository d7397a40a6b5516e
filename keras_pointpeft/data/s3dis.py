"""S3DIS rooms, for semantic segmentation.

Rooms are `Area_<n>_<room>.npy` with rows `x y z r g b label`, metres and z
up, the layout that PointNet's preparation scripts write. Own scenes may be
any files with a label for each point, such as the classes of `.las`.
"""

import dataclasses
import os

import numpy as np

from keras_pointpeft.data.beside import Beside
from keras_pointpeft.data.checks import MAX_BYTES
from keras_pointpeft.data.checks import UNLABELLED
from keras_pointpeft.data.checks import UNUSABLE
from keras_pointpeft.data.checks import BadClouds
from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.checks import check_size
from keras_pointpeft.data.clouds import turned
from keras_pointpeft.data.columns import cover_room  # noqa: F401
from keras_pointpeft.data.columns import draw_column  # noqa: F401
from keras_pointpeft.data.formats.content import Content
from keras_pointpeft.data.formats.content import as_numbers
from keras_pointpeft.data.geometry_files import EXTENSIONS
from keras_pointpeft.data.geometry_files import read_content
from keras_pointpeft.data.rooms import Room
from keras_pointpeft.files.progress import track

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


def load_s3dis(
    data_dir,
    split: str = "train",
    test_area: int | str = 5,
    class_names=CLASS_NAMES,
    on_bad: str = "raise",
    max_bytes: int = MAX_BYTES,
    up_axis: str | None = None,
    channels=(),
    color_range: float | None = None,
) -> list[Room]:
    """Loads the rooms of [S3DIS](https://arxiv.org/abs/1702.01105).

    Args:
        data_dir: string, the folder of `Area_<n>_<room>.npy`, or of other
            files with labels (`.las`, `.laz`, `.ply` ..., see `read_cloud`);
            subfolders `Area_<n>` are looked into too.
        split: "train", all areas but one, or "test", that one.
        test_area: int or string. Defaults to 5, as published.
        class_names: sequence of strings; other scans in this layout have
            others. Defaults to the 13 classes of S3DIS.
        on_bad: "raise", or "skip" to leave out rooms that cannot be read, or
            have NaN, infinity or labels out of range. Points without a label
            have -1 or 255.
        max_bytes: int, refuse files that declare more.
        up_axis: optional "x", "y" or "z", the axis that points up in the
            files; rooms are turned so that it is z. Defaults to None.
        channels, color_range: see `load_folder`: what `Room.channels` has,
            for a backbone with so many `extra_channels`.

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
    check_choice("split", split, ("train", "test"))
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
    beside = Beside(channels, color_range)
    rooms = []
    for path in track(paths, "reading scenes"):
        name = os.path.splitext(os.path.basename(path))[0]
        try:
            content = _read(path, max_bytes)
        except UNUSABLE as error:
            bad.add(os.path.basename(path), str(error), path)
            continue
        points, labels = content.points, content.labels
        labels = np.where(np.isin(labels, UNLABELLED), -1, labels)
        wrong = (labels < -1) | (labels >= len(class_names))
        infinite = ~np.isfinite(points).all(axis=1)
        if infinite.any():
            bad.add(name, f"{infinite.sum()} points with NaN or infinity")
        elif wrong.any():
            bad.add(
                name,
                f"{wrong.sum()} labels outside of 0..{len(class_names) - 1}",
            )
        else:
            try:
                beside.add(content, up_axis, "z")
            except ValueError as error:
                bad.add(name, str(error))
                continue
            points = turned(points, up_axis, "z")
            labels = labels.astype("int32")
            rooms.append(Room(points, labels, name, content.colors))
    bad.settle()
    if not channels:
        return rooms
    return [
        dataclasses.replace(room, channels=row, source=beside.source)
        for room, row in zip(rooms, beside.settle(), strict=True)
    ]


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
                if name.startswith("Area_")
                and os.path.splitext(name)[1].lower() in EXTENSIONS
            ]
    return found


def _read(path, max_bytes):
    """The `Content` of a file, with labels."""
    if not path.lower().endswith(".npy"):
        content = read_content(path, max_bytes=max_bytes)
        if content.labels is None:
            raise ValueError(
                f"{path} must have a label for each point: a property or "
                'column "label" or "classification". Received: none'
            )
        return content
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
    labels = table[:, 6]
    # What is no number is outside of every range, unlike what has no label.
    labels = np.where(np.isfinite(labels), labels, -2)
    return Content(
        as_numbers(table[:, :3]),
        labels=labels.astype("int64"),
        colors=np.asarray(table[:, 3:6], "float32"),
        color_range=255.0,
    ).owned()
