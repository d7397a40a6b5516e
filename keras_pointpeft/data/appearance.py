"""How clouds look to a model: what can be told of numbers alone."""

from dataclasses import dataclass

import numpy as np

# Clouds that are looked at, and points of each.
CLOUDS, POINTS = 64, 128


@dataclass(frozen=True)
class Appearance:
    """Size, place and density of clouds, as a model gets them.

    Args:
        points: pair of ints, fewest and most points of a cloud.
        radius: pair of floats, smallest and largest distance of a cloud's
            furthest point from its mean.
        offset: float, the largest distance of a mean from the origin, in
            radii.
        spacing: pair of floats, range of the median distance to the nearest
            other point, in radii. It tells a part of a cloud from the whole.
        evenness: pair of floats, range of the deviation of that distance in
            parts of its mean. It tells points that were spread out, by FPS,
            from points that were drawn.
    """

    points: tuple
    radius: tuple
    offset: float
    spacing: tuple
    evenness: tuple

    @property
    def unit_sphere(self):
        """Whether clouds are centred and scaled to radius 1, or nearly so."""
        low, high = self.radius
        return self.offset < 0.15 and 0.85 < low and high < 1.05

    def complaints(self, points):
        """What of other clouds cannot be as it was, in sentences.

        Args:
            points: array `(clouds, points, 3)`, as the model gets them.

        Returns:
            list of strings, empty where nothing is unusual.
        """
        found = look(points, 16)
        told = []
        low, high = self.radius
        radius = np.median(found.radius)
        if not low / 2 <= radius <= 2 * high:
            told.append(
                f"the scale: their radius is {radius:.3g}, in training it was "
                f"{_between(self.radius)}"
            )
        if found.offset > max(2 * self.offset, self.offset + 0.3):
            told.append(
                f"the place: they lie up to {found.offset:.3g} radii off the "
                f"origin, in training {self.offset:.2g}"
            )
        least, most = self.points
        if found.points[0] < least or found.points[1] > most:
            told.append(
                f"the number of points: {_between(found.points)}, in training "
                f"{_between(self.points)}"
            )
        elif told == []:  # density means nothing at another scale
            told += self._density(found)
        return told

    def _density(self, found):
        spacing, evenness = np.median(found.spacing), np.median(found.evenness)
        low, high = self.spacing
        if not low / 1.5 <= spacing <= 1.5 * high:
            return [
                "the sampling: points are "
                f"{'denser' if spacing < low else 'sparser'} than in training"
            ]
        low, high = self.evenness
        if not low - 0.1 <= evenness <= high + 0.1:
            return [
                "the sampling: points are spread "
                f"{'more' if evenness < low else 'less'} evenly than in "
                "training"
            ]
        return []

    def to_dict(self):
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_dict(cls, values):
        return cls(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in values.items()
            }
        )


def look(points, most=CLOUDS):
    """Looks at clouds, at most at `most` of them.

    Args:
        points: array `(clouds, points, 3)`.
        most: int.

    Returns:
        `Appearance`.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data.appearance import look

    look(np.random.default_rng(0).normal(size=(4, 128, 3))).unit_sphere
    ```
    """
    count = len(points)
    chosen = np.linspace(0, count - 1, min(count, most)).round().astype(int)
    rows = []
    for index in np.unique(chosen):
        # Colours and the like are no coordinates.
        cloud = np.asarray(points[index][:, :3], "float64")
        center = cloud.mean(axis=0)
        cloud = cloud - center
        radius = np.sqrt((cloud**2).sum(axis=1).max())
        scale = radius or 1.0
        spacing, evenness = _nearest(cloud / scale)
        offset = np.linalg.norm(center) / scale
        rows.append((radius, offset, spacing, evenness))
    radius, offset, spacing, evenness = np.array(rows).T
    size = int(points.shape[1])
    return Appearance(
        (size, size),
        _range(radius),
        float(offset.max()),
        _range(spacing),
        _range(evenness),
    )


def _nearest(cloud):
    """Median, and deviation by mean, of the distance to the next point."""
    count = len(cloud)
    chosen = np.linspace(0, count - 1, min(count, POINTS)).astype(int)
    distances = ((cloud[chosen, None] - cloud[None]) ** 2).sum(axis=-1)
    # Repeated points, by which clouds are filled, say nothing.
    distances[distances < 1e-14] = np.inf
    nearest = np.sqrt(distances.min(axis=1))
    nearest = nearest[np.isfinite(nearest)]
    if not len(nearest):
        return 0.0, 0.0
    return np.median(nearest), nearest.std() / nearest.mean()


def _range(values):
    # Rounded, so that a file is one for a reader.
    return float(f"{values.min():.4g}"), float(f"{values.max():.4g}")


def _between(pair):
    low, high = (f"{x:.3g}" if x < 1000 else f"{x:,.0f}" for x in pair)
    return low if low == high else f"{low} to {high}"
