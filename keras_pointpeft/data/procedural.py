"""The splits of what is made, not read, and the cache of the shapes."""

import hashlib
import json
import os

import numpy as np

from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.rooms import Room
from keras_pointpeft.data.splits import Split
from keras_pointpeft.files.downloads import cache_directory
from keras_pointpeft.files.progress import telling
from keras_pointpeft.files.whole import whole_folder

# split: (clouds, domain, seed). Measured results refer to these.
SPLITS = {
    "train": (1600, "scan", 1),
    "test": (1000, "scan", 2),
    "pretrain": (10000, "clean", 0),
}
# split: (rooms, seed)
ROOM_SPLITS = {"train": (40, 1), "test": (12, 2)}


def load_shapes(
    split: str = "train",
    num_clouds: int | None = None,
    num_points: int | None = None,
    domain: str | None = None,
    seed: int | None = None,
    start: int = 0,
    cache: bool = False,
) -> Split:
    """Makes a split of the procedural shapes; nothing is downloaded.

    | split | clouds | domain | seed |
    |---|---|---|---|
    | "train" | 1,600 | "scan" | 1 |
    | "test" | 1,000 | "scan" | 2 |
    | "pretrain" | 10,000 | "clean" | 0 |

    Args:
        split: string, see above.
        num_clouds, domain, seed: change the value of the split.
        num_points: int. Defaults to None, that of `shapes.make_shapes`.
        start: int, the number of the first cloud.
        cache: bool, keep the clouds as .npy files in the cache (under
            `KERAS_HOME`) and memory-map them. Defaults to False.

    Returns:
        `Split` with part labels, where the shapes have them.

    Example:

    ```python
    train = keras_pointpeft.data.load("shapes", split="train", num_clouds=64)
    ```
    """
    check_choice("split", split, SPLITS)
    count, published_domain, published_seed = SPLITS[split]
    arguments = {
        "num_clouds": count if num_clouds is None else num_clouds,
        "domain": published_domain if domain is None else domain,
        "seed": published_seed if seed is None else seed,
        "start": start,
    }
    if num_points is not None:
        arguments["num_points"] = num_points
    made = _cached(arguments) if cache else _make(arguments)
    return Split(name=f"shapes {split}", **made)


@telling("making clouds")
def load_programs(
    split: str = "pretrain",
    num_clouds: int = 10000,
    num_points: int = 1024,
    num_programs: int | None = None,
    views: float = 0.0,
    seed: int = 0,
    start: int = 0,
) -> Split:
    """Makes clouds of random programs of parts, to pre-train on.

    Args:
        split: "pretrain"; there is no other.
        num_clouds, num_points, num_programs, views, seed, start: see
            `shapes.make_programs`.

    Returns:
        `Split`; its classes are the programs with `num_programs`, else there
        is one class, "program".

    Raises:
        ValueError: another split, or an argument out of its range.
        TypeError: a number is not an integer.

    Example:

    ```python
    clouds = keras_pointpeft.data.load(
        "programs", split="pretrain", num_clouds=64
    )
    ```
    """
    from keras_pointpeft.data import shapes

    check_choice("split", split, ("pretrain",))
    made = shapes.make_programs(
        num_clouds, num_points, seed, start, num_programs, views
    )
    labels, names = np.zeros_like(made.labels), ("program",)
    if num_programs is not None:
        labels = made.labels
        names = tuple(f"program_{k}" for k in range(num_programs))
    return Split(made.points, labels, names, name="programs pretrain")


def load_rooms(
    split: str = "train",
    num_rooms: int | None = None,
    num_points: int = 16384,
) -> list[Room]:
    """Makes furnished rooms with a class for each point.

    There are 40 rooms in "train" and 12 in "test", with 17 classes; see
    `shapes.make_rooms`.

    Args:
        split: "train" or "test".
        num_rooms: int, changes the value of the split.
        num_points: int, points of a room. Defaults to 16384.

    Returns:
        list of `Room`, in metres, z up.

    Example:

    ```python
    rooms = keras_pointpeft.data.load("rooms", split="test", num_rooms=2)
    ```
    """
    from keras_pointpeft.data import shapes

    check_choice("split", split, ROOM_SPLITS)
    count, seed = ROOM_SPLITS[split]
    made = shapes.make_rooms(
        count if num_rooms is None else num_rooms, num_points, seed
    )
    # There y is up: x, y, z become x, -z, y, which is a rotation.
    points = made.points[..., [0, 2, 1]] * np.float32((1, -1, 1))
    return [
        Room(cloud, labels, f"room_{split}_{number}")
        for number, (cloud, labels) in enumerate(zip(points, made.labels))
    ]


def _make(arguments):
    from keras_pointpeft.data import shapes

    made = shapes.make_shapes(**arguments)
    return {
        "points": made.points,
        "labels": made.labels,
        "part_labels": made.part_labels,
        "class_names": made.class_names,
        "part_names": made.part_names,
    }


def _cached(arguments):
    """Reads the clouds from the cache, after making them if need be."""
    folder = _folder(arguments)
    if not os.path.isfile(os.path.join(folder, "names.json")):
        _write(folder, _make(arguments))
    with open(os.path.join(folder, "names.json"), encoding="utf-8") as file:
        made = json.load(file)
    for key in made.pop("arrays"):
        path = os.path.join(folder, f"{key}.npy")
        # Points stay on the disk until they are used.
        mode = "r" if key == "points" else None
        made[key] = np.load(path, mmap_mode=mode, allow_pickle=False)
    return made


def _folder(arguments):
    from keras_pointpeft.data import shapes

    key = {**arguments, "version": shapes.VERSION}
    key = json.dumps(key, sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return os.path.join(cache_directory(), f"shapes-{digest}")


def _write(folder, made):
    # Another process may be faster; its clouds are the same.
    with whole_folder(folder, last="names.json") as place:
        arrays = ("points", "labels", "part_labels")
        for key in arrays:
            np.save(place / f"{key}.npy", made[key])
        names = {key: made[key] for key in ("class_names", "part_names")}
        text = json.dumps({**names, "arrays": arrays})
        (place / "names.json").write_text(text, encoding="utf-8")
