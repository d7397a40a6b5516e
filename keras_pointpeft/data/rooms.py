"""A scene: points in metres with a label each, and where its columns are."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from keras_pointpeft.data.clouds import as_floats
from keras_pointpeft.data.clouds import check_units

# Coarser coordinates than this, in metres, tell no shapes.
_COARSEST = 0.02
# Points below the ground are noise if they are at most this share of a scene
# and lie deeper than so many metres.
_NOISE, _DEEP = 1e-3, 2.0
# Points that are worked on at once; a scene may have many millions.
AT_ONCE = 2**17


@dataclass(frozen=True, eq=False)
class Room:
    """One room, or another scene.

    Args:
        points: float array `(points, 3)`, in metres, z up. Map coordinates
            and heights above the sea are taken as they are, in float64:
            columns count from the scene's own corner and ground.
        labels: int32 array `(points,)`; -1 where a point has none.
        name: string.
        colors: optional float32 array `(points, 3)`, 0 to 255.
        channels: optional float32 array `(points, channels)`, what a model
            takes beside the place of each point: colours from 0 to 1,
            normals, intensity.
        source: optional dict, how it was read, as of a `Split`.

    Raises:
        ValueError: shapes that do not fit each other.

    Example:
    ```python
    import numpy as np
    from keras_pointpeft.data import Room

    points = 4 * np.random.default_rng(0).random((5000, 3), "float32")
    labels = (points[:, 2] > 1).astype("int32")
    room = Room(points, labels, "office_1")
    ```
    """

    points: np.ndarray
    labels: np.ndarray
    name: str
    colors: np.ndarray | None = None
    channels: np.ndarray | None = None
    source: dict | None = None

    def __post_init__(self):
        points = as_floats(self.points)
        if points.ndim != 2 or points.shape[1] != 3 or not len(points):
            raise ValueError(
                f"The points of {self.name} must have the shape (points, 3). "
                f"Received: {points.shape}"
            )
        labels = np.asarray(self.labels)
        if labels.shape != points.shape[:1] or labels.dtype.kind not in "iu":
            raise ValueError(
                f"{self.name} must have one integer label for each of its "
                f"{len(points)} points. Received: {labels.dtype} of shape "
                f"{labels.shape}"
            )
        if self.channels is not None:
            shape = np.shape(self.channels)
            if len(shape) != 2 or shape[0] != len(points):
                raise ValueError(
                    f"The channels of {self.name} must have the shape "
                    f"({len(points)}, channels). Received: {shape}"
                )
            channels = np.asarray(self.channels, "float32")
            object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "labels", labels.astype("int32", copy=False))

    @cached_property
    def local(self) -> np.ndarray:
        """All points as `near` gives them, kept."""
        local = np.empty(self.points.shape, self._frame[2])
        for begin in range(0, len(local), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            local[part] = self.near(part)
        return local

    def near(self, part) -> np.ndarray:
        """Points from the scene's own corner and ground on, in metres.

        The ground is the lowest point, without a thousandth of the points
        where these lie far below the others.

        Args:
            part: slice, or int array `(...)`, which points.

        Returns:
            float array `(..., 3)`.

        Raises:
            ValueError: NaN or infinity, degrees, or coordinates that float32
                has cut.
        """
        return self._from_corner(self.points[part])

    def beside(self, places, part) -> np.ndarray:
        """Places with the channels of their points behind them.

        Args:
            places: float32 array `(..., 3)`.
            part: int array `(...)`, which points these are.

        Returns:
            float32 array `(..., 3 + channels)`.
        """
        if self.channels is None:
            return places
        return np.concatenate([places, self.channels[part]], axis=-1)

    @property
    def extent(self) -> np.ndarray:
        """The largest coordinates of `near`, `(3,)`."""
        return self._from_corner(self._frame[1])

    def _from_corner(self, points):
        corner, _, dtype = self._frame
        # To a micrometre: what lies on an edge does so wherever the scene is.
        return (np.rint((points - corner) * 1e6) / 1e6).astype(dtype)

    @cached_property
    def _frame(self):
        """Corner and ground, the highest coordinates, and the type of both."""
        points = self.points
        low, high = points.min(axis=0), points.max(axis=0)
        if not np.isfinite([low, high]).all():
            wrong = int((~np.isfinite(points)).any(axis=1).sum())
            raise ValueError(
                f"{self.name} holds NaN or infinity. Received: {wrong} points"
            )
        check_units(points, self.name)
        far = np.maximum(np.abs(low), np.abs(high))[:2].max()
        if points.dtype == "float32" and np.spacing(far) > _COARSEST:
            raise ValueError(
                f"{self.name} lies so far from the origin that float32 has "
                "cut its coordinates: read and keep them as float64. "
                f"Received: coordinates up to {far:.0f}, in steps of "
                f"{np.spacing(far):.2g}"
            )
        corner = low.astype("float64")
        bottom = np.quantile(points[:, 2], _NOISE, method="lower")
        if bottom - corner[2] > _DEEP:
            corner[2] = bottom
        small = np.spacing(np.float32((high - low).max())) < 1e-4
        return corner, high, "float32" if small else "float64"
