"""Clouds as sensors spoil them: seven corruptions at five severities.

What [ModelNet-C](https://arxiv.org/abs/2202.03377) and
[ModelNet40-C](https://arxiv.org/abs/2201.12296) are for: a model is trained on
clean clouds and measured on these. Theirs are files; here the same kinds are
made of any clouds. The numbers are our own, so that figures compare methods on
one set, not with published ones.
"""

import zlib
from dataclasses import dataclass
from dataclasses import replace

import numpy as np

from keras_pointpeft.data.appearance import look
from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.checks import check_clouds
from keras_pointpeft.data.clouds import SAMPLING
from keras_pointpeft.data.clouds import as_floats
from keras_pointpeft.data.clouds import gather_points
from keras_pointpeft.data.clouds import sample_indices
from keras_pointpeft.data.normalization import unit_sphere
from keras_pointpeft.data.splits import Split

SEVERITIES = (1, 2, 3, 4, 5)
# Of points that were not in the cloud.
ADDED = -1


def noise(cloud, amount, rng):
    """Normal noise on each coordinate, its deviation in parts of the radius."""
    _, radius = _ball(cloud)
    moved = cloud + rng.standard_normal(cloud.shape) * (amount * radius)
    return moved, np.arange(len(cloud))


def dropout(cloud, amount, rng):
    """A share of the points is missing, anywhere."""
    return _without(cloud, rng.permutation(len(cloud)), amount)


def dropout_local(cloud, amount, rng):
    """A share of the points is missing, around up to four places."""
    holes = np.array_split(
        np.empty(_share(cloud, amount)), rng.integers(1, 5)
    )
    starts = rng.permutation(len(cloud))
    left = np.ones(len(cloud), bool)
    for hole in holes:
        start = cloud[starts[left[starts]][0]]
        distances = ((cloud - start) ** 2).sum(axis=1)
        distances[~left] = np.inf
        left[np.argsort(distances, kind="stable")[: len(hole)]] = False
    kept = np.flatnonzero(left)
    return cloud[kept], kept


def occlusion(cloud, amount, rng):
    """A share of the points is missing: the best hidden from one viewpoint.

    Seen from far away, a point is hidden by how far it lies behind the first
    point of its cell of an image, whose cells hold four points on average.
    """
    right, up, ahead = _frame(rng)
    depth = cloud @ ahead
    image = np.stack((cloud @ right, cloud @ up), axis=1)
    low, size = image.min(axis=0), np.ptp(image, axis=0)
    count = max(1, int(np.sqrt(len(cloud)) / 2))
    cells = (image - low) / np.where(size > 0, size, 1) * count
    cells = np.minimum(cells.astype(int), count - 1) @ (count, 1)
    first = np.full(count * count, np.inf)
    np.minimum.at(first, cells, depth)
    behind = depth - first[cells]
    return _without(cloud, np.lexsort((-depth, -behind)), amount)


def rotation(cloud, amount, rng):
    """Turned by so many degrees about a random axis through the middle."""
    middle, _ = _ball(cloud)
    x, y, z = axis = _frame(rng)[0]
    angle = np.deg2rad(amount)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.cos(angle) * np.eye(3) + np.sin(angle) * cross
    turn += (1 - np.cos(angle)) * np.outer(axis, axis)
    return (cloud - middle) @ turn.T + middle, np.arange(len(cloud))


def density(cloud, amount, rng):
    """Half of the points, which thin out along a random direction.

    From the near end to the far one, the odds of a point to stay fall by
    `exp(amount)`.
    """
    depth = cloud @ _frame(rng)[2]
    depth = (depth - depth.min()) / (np.ptp(depth) or 1)
    order = np.argsort(rng.gumbel(size=len(cloud)) - amount * depth)
    return _without(cloud, order, 0.5)


def outliers(cloud, amount, rng):
    """A share of points more, anywhere in the ball around the cloud."""
    middle, radius = _ball(cloud)
    count = _share(cloud, amount)
    found = rng.standard_normal((count, 3))
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    found *= radius * np.cbrt(rng.random((count, 1)))
    index = np.append(np.arange(len(cloud)), np.full(count, ADDED))
    return np.concatenate((cloud, middle + found)), index


@dataclass(frozen=True)
class Corruption:
    """A way to spoil a cloud, and how much at each severity.

    Attributes:
        function: from a cloud `(points, 3)`, an amount and a
            `numpy.random.Generator` to other points and their indices in the
            cloud, `ADDED` where there is none.
        amounts: tuple of five floats.
    """

    function: object
    amounts: tuple

    @property
    def words(self):
        """What it does, in a sentence."""
        return self.function.__doc__.partition("\n")[0]


CORRUPTIONS = {
    "noise": Corruption(noise, (0.01, 0.02, 0.03, 0.04, 0.05)),
    "dropout": Corruption(dropout, (0.25, 0.375, 0.5, 0.625, 0.75)),
    "dropout_local": Corruption(dropout_local, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "occlusion": Corruption(occlusion, (0.15, 0.25, 0.35, 0.45, 0.55)),
    "rotation": Corruption(rotation, (6, 12, 18, 24, 30)),
    "density": Corruption(density, (1, 2, 3, 4, 5)),
    "outliers": Corruption(outliers, (0.01, 0.02, 0.05, 0.1, 0.2)),
}


def corrupt(points, corruption, severity, seed=0):
    """Spoils clouds.

    A cloud's draws depend on the seed, the corruption and the cloud's number
    alone: a higher severity drops what a lower one drops, and more; turns
    about the same axis, and further.

    Args:
        points: array `(clouds, points, 3)`.
        corruption: string, one of `CORRUPTIONS`.
        severity: int, 1 to 5.
        seed: int, not negative.

    Returns:
        Two arrays: points `(clouds, n, 3)`, in the precision of `points`, and
        their indices in the clouds, `(clouds, n)` int32, -1 for a point that
        was not there. `n` is the same for all clouds.

    Raises:
        ValueError: for an unknown corruption or severity, or another shape.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data import corrupt

    points = np.random.default_rng(0).normal(size=(2, 512, 3))
    fewer, index = corrupt(points, "occlusion", severity=3)
    fewer.shape  # (2, 333, 3)
    ```
    """
    check(corruption, severity)
    points = as_floats(points)
    check_clouds(points)
    if not points.size:
        raise ValueError(
            "There are no points to corrupt. "
            f"Received: points of shape {points.shape}"
        )
    chosen = CORRUPTIONS[corruption]
    amount = chosen.amounts[severity - 1]
    number = zlib.crc32(corruption.encode())
    found = [
        chosen.function(
            cloud.astype("float64"),
            amount,
            np.random.default_rng((seed, number, i)),
        )
        for i, cloud in enumerate(points)
    ]
    clouds, indices = (np.stack(part) for part in zip(*found))
    return clouds.astype(points.dtype), indices.astype("int32")


def corrupt_split(split, corruption, severity, seed=0) -> Split:
    """A split's clouds, spoilt, with their labels.

    Clouds of the unit sphere are brought into it again: a reader knows
    nothing of what is missing.

    Args:
        split: `Split`, of clouds as a model would see them, see `sampled`.
        corruption: see `corrupt`.
        severity: likewise.
        seed: likewise.

    Returns:
        `Split`. A point that was not there has the part label -1.

    Raises:
        ValueError: what `corrupt` refuses, or a split with channels.
    """
    if split.channels is not None:
        raise ValueError(
            "Corruptions are of the places of points: an outlier has no "
            "colour, and normals would have to turn. Take the split with "
            "dataclasses.replace(split, channels=None). Received: channels "
            f"of shape {split.channels.shape}"
        )
    points, indices = corrupt(split.points, corruption, severity, seed)
    unit = look(split.points).unit_sphere
    parts = split.part_labels
    if parts is not None:
        own = gather_points(parts, np.maximum(indices, 0))
        parts = np.where(indices == ADDED, -1, own)
    return replace(
        split,
        points=unit_sphere(points) if unit else points,
        part_labels=parts,
        name=f"{split.name}, {corruption} {severity}",
    )


def sampled(split, num_points=None, sampling="fps") -> Split:
    """A split with `num_points` points of each cloud; None for all.

    Args:
        split: `Split`.
        num_points: int or None.
        sampling: string, see `keras_pointpeft.data.sample_points`.
    """
    if num_points is None:
        return split
    check_choice("sampling", sampling, SAMPLING)
    rng = np.random.default_rng(0)
    chosen = sample_indices(split.points, num_points, sampling, rng)
    parts, beside = split.part_labels, split.channels
    return replace(
        split,
        points=gather_points(np.asarray(split.points), chosen),
        part_labels=None if parts is None else gather_points(parts, chosen),
        channels=None if beside is None else gather_points(beside, chosen),
    )


def check(corruption, severity):
    """Raises ValueError for an unknown corruption or severity."""
    check_choice("corruption", corruption, CORRUPTIONS)
    check_choice("severity", severity, SEVERITIES)


def _share(cloud, amount):
    return round(amount * len(cloud))


def _without(cloud, order, amount):
    """The cloud without the first points of an order, a share of them."""
    kept = np.sort(order[_share(cloud, amount) :])
    return cloud[kept], kept


def _ball(cloud):
    """The mean of a cloud, and its furthest point's distance from there."""
    middle = cloud.mean(axis=0)
    return middle, np.linalg.norm(cloud - middle, axis=1).max()


def _frame(rng):
    """Three random unit vectors, at right angles to each other."""
    frame, upper = np.linalg.qr(rng.standard_normal((3, 3)))
    return (frame * np.sign(np.diag(upper))).T
