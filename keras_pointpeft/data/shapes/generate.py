"""`make_shapes`: labelled clouds of procedural shapes from a seed."""

from typing import NamedTuple

import numpy as np

from keras_pointpeft.data.shapes.categories import CATEGORIES
from keras_pointpeft.data.shapes.categories import PART_NAMES
from keras_pointpeft.data.shapes.categories import build
from keras_pointpeft.data.shapes.checks import checked_integer
from keras_pointpeft.data.shapes.dice import stream
from keras_pointpeft.data.shapes.primitives import dot
from keras_pointpeft.data.shapes.scan import scan
from keras_pointpeft.data.shapes.surface import sample
from keras_pointpeft.files.progress import telling

DOMAINS = ("clean", "scan")

# Counts up when the same arguments make other clouds; caches key on it.
VERSION = 1

# The streams of random numbers of one cloud.
_SHAPE, _CLEAN, _SCAN = 0, 1, 2


class ShapeSet(NamedTuple):
    """Clouds of procedural shapes.

    Attributes:
        points: (clouds, points, 3) float32. Mean at the origin, the farthest
            point at distance 1; y is up.
        labels: (clouds,) int32 into `class_names`.
        part_labels: (clouds, points) int32 into `part_names`.
        class_names: the categories asked for.
        part_names: "background", then "category.part" of all categories, the
            same tuple whichever categories were asked for.
    """

    points: np.ndarray
    labels: np.ndarray
    part_labels: np.ndarray
    class_names: tuple
    part_names: tuple


@telling("making shapes")
def make_shapes(
    num_clouds: int,
    domain: str = "clean",
    num_points: int = 1024,
    seed: int = 0,
    categories: tuple | None = None,
    start: int = 0,
) -> ShapeSet:
    """Makes labelled point clouds of procedural shapes; nothing is loaded.

    Twenty categories are built from parametric parts with wide ranges, so
    that neighbours overlap (chair, armchair, stool, bench; mug, vase, bucket,
    bottle; car, bus, truck). The clean domain is a complete surface as from
    CAD, aligned: y up, front towards +z, density even. The scan domain is
    what a depth sensor returns: one or two views with self-occlusion, noise,
    holes and uneven density, with floor, wall and neighbours in the box and
    parts of the object out of it, turned about y at random.

    Cloud `i` of a seed depends on the seed, `i`, the domain, the number of
    points and the category, never on how many are made at once: `start` makes
    a set in chunks. Its category is the (i mod categories)-th, so that sets
    are balanced. The same seed makes the same shapes in both domains; for
    disjoint train and test sets give each its own seed.

    Args:
        num_clouds: int. Clouds to make.
        domain: `"clean"` or `"scan"`. Defaults to `"clean"`.
        num_points: int. Points of each cloud. Defaults to `1024`.
        seed: int, not negative. Defaults to `0`.
        categories: some of `CATEGORIES`, in the order of the labels. Defaults
            to `None`, all of them.
        start: int. Index of the first cloud. Defaults to `0`.

    Returns:
        `ShapeSet`.

    Raises:
        ValueError: an argument is out of its range.
        TypeError: a number is not an integer.

    Example:
    ```python
    from keras_pointpeft.data.shapes import make_shapes

    train = make_shapes(100, "scan", seed=0)
    test = make_shapes(20, "scan", seed=1)
    train.points.shape  # (100, 1024, 3)
    train.class_names[train.labels[2]]  # "bed"
    ```
    """
    num_clouds = checked_integer("num_clouds", num_clouds, 0)
    num_points = checked_integer("num_points", num_points, 8)
    seed = checked_integer("seed", seed, 0)
    start = checked_integer("start", start, 0)
    if domain not in DOMAINS:
        raise ValueError(
            f"`domain` must be one of {DOMAINS}. Received: domain={domain!r}"
        )
    names = _chosen(categories)
    points = np.empty((num_clouds, num_points, 3), dtype="float32")
    part_labels = np.empty((num_clouds, num_points), dtype="int32")
    labels = (start + np.arange(num_clouds)) % len(names)
    for row, label in enumerate(labels):
        index = start + row
        solid = build(names[label], stream(seed, index, _SHAPE))
        if domain == "clean":
            rng = stream(seed, index, _CLEAN)
            cloud, _, parts = sample(solid, num_points, rng)
        else:
            rng = stream(seed, index, _SCAN)
            cloud, parts = scan(solid, num_points, rng)
        points[row] = _unit_sphere(cloud)
        part_labels[row] = parts
    return ShapeSet(
        points, labels.astype("int32"), part_labels, names, PART_NAMES
    )


def _unit_sphere(points):
    points = points - points.mean(axis=0)
    return points / np.sqrt(dot(points, points).max())


def _chosen(categories):
    if categories is None:
        return CATEGORIES
    names = (categories,) if isinstance(categories, str) else tuple(categories)
    if not names:
        raise ValueError(
            "`categories` must name at least one category. "
            f"Received: categories={categories!r}"
        )
    unknown = [name for name in names if name not in CATEGORIES]
    if unknown or len(set(names)) < len(names):
        raise ValueError(
            f"`categories` must be different names among {CATEGORIES}. "
            f"Received: categories={categories!r}"
        )
    return names
