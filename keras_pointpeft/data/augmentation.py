"""Augmentations of clouds: small objects, vectorised over the batch.

Each is called as `augmentation(points, rng)` with points `(batch, points, 3)`
and a `numpy.random.Generator`, and returns new float32 points.
"""

import math
from dataclasses import dataclass
from dataclasses import fields

import numpy as np

from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.checks import check_clouds
from keras_pointpeft.data.clouds import to_float32
from keras_pointpeft.data.normalization import unit_sphere


@dataclass(frozen=True)
class Augmentation:
    """Base: an augmentation is a name and its numbers."""

    def __call__(self, points, rng):
        raise NotImplementedError

    def get_config(self):
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return {"name": self.name, **own}


def moved(augmentation, points, rng):
    """Augments clouds, and leaves what points have beside their place.

    Args:
        augmentation: `Augmentation`.
        points: array `(batch, points, 3 + channels)`.
        rng: `numpy.random.Generator`.

    Returns:
        float32 array of the same shape.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data import augmentation

    colored = np.random.default_rng(0).random((2, 16, 6), "float32")
    moved = augmentation.moved(
        augmentation.get("scale_translate"), colored, np.random.default_rng(1)
    )
    assert (moved[..., 3:] == colored[..., 3:]).all()
    ```
    """
    places = np.asarray(augmentation(points[..., :3], rng), "float32")
    if points.shape[-1] == 3:
        return places
    return np.concatenate([places, points[..., 3:]], -1, dtype="float32")


@dataclass(frozen=True)
class NoAugmentation(Augmentation):
    """The points as they are."""

    name = "none"

    def __call__(self, points, rng):
        return np.array(to_float32(points))


@dataclass(frozen=True)
class ScaleTranslate(Augmentation):
    """Random scale and shift, by axis: Point-MAE's and DAPT's.

    Args:
        low, high: floats, the range of the scale. Default to 2/3 and 3/2.
        shift: float, the shift lies in (-shift, shift). Defaults to 0.2.
        isotropic: bool, one scale for the three axes (published part
            segmentation: 0.8 to 1.25 with shift 0.1). Defaults to False.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data.augmentation import ScaleTranslate

    points = np.ones((2, 16, 3), "float32")
    moved = ScaleTranslate()(points, np.random.default_rng(0))
    ```
    """

    low: float = 2 / 3
    high: float = 3 / 2
    shift: float = 0.2
    isotropic: bool = False
    name = "scale_translate"

    def __post_init__(self):
        _check_range(self.low, self.high)

    def __call__(self, points, rng):
        points = _points(points)
        scale = _scale(self, rng, len(points))
        shift = rng.uniform(-self.shift, self.shift, (len(points), 1, 3))
        moved = points * scale
        moved += shift.astype("float32")
        return moved


@dataclass(frozen=True)
class Rotate(Augmentation):
    """Random rotation about the vertical axis, y in the published data.

    Row vectors times [[c, 0, s], [0, 1, 0], [-s, 0, c]].

    Args:
        axis: "x", "y" or "z". Defaults to "y".
        max_angle: float, the angle lies in (-max_angle, max_angle). Defaults
            to pi, the whole circle.
        shared: bool, one angle for the whole batch. Defaults to False.
    """

    axis: str = "y"
    max_angle: float = math.pi
    shared: bool = False
    name = "rotate"

    def __post_init__(self):
        check_choice("axis", self.axis, ("x", "y", "z"))

    def __call__(self, points, rng):
        points = _points(points)
        angle = rng.uniform(
            -self.max_angle, self.max_angle, 1 if self.shared else len(points)
        )
        return points @ _rotation(angle, self.axis)


@dataclass(frozen=True)
class ScaleRotate(Augmentation):
    """Random scale by axis, then a rotation about y: Point-PEFT's.

    Args:
        low, high: floats, the range of the scale. Default to 0.9 and 1.1.
        axis: "x", "y" or "z". Defaults to "y".
        shared: bool, one angle for the whole batch, as the published code on
            Point-M2AE does; that on Point-MAE draws one for each cloud.
            Defaults to False.
    """

    low: float = 0.9
    high: float = 1.1
    axis: str = "y"
    shared: bool = False
    name = "scale_rotate"

    def __post_init__(self):
        _check_range(self.low, self.high)
        check_choice("axis", self.axis, ("x", "y", "z"))

    def __call__(self, points, rng):
        points = _points(points)
        scaled = points * _scale(self, rng, len(points))
        return Rotate(self.axis, shared=self.shared)(scaled, rng)


@dataclass(frozen=True)
class Jitter(Augmentation):
    """Normal noise on each coordinate, clipped.

    Args:
        sigma: float, standard deviation. Defaults to 0.01.
        clip: float, the largest change. Defaults to 0.05.
    """

    sigma: float = 0.01
    clip: float = 0.05
    name = "jitter"

    def __call__(self, points, rng):
        points = _points(points)
        noise = rng.standard_normal(points.shape, "float32")
        noise *= np.float32(self.sigma)
        return points + np.clip(noise, -self.clip, self.clip, out=noise)


@dataclass(frozen=True)
class OneSided(Augmentation):
    """Some clouds as one side of them: what a scan has of an object.

    Of these clouds the points that lie farthest along a random direction stay,
    and points among them are repeated in place of those that are gone. All
    clouds are moved and scaled into the unit sphere, as partial clouds are
    when they are read: others that scale or move come behind it.

    Args:
        share: float, the share of clouds. Defaults to 0.5.
        least: float, the smallest part of a cloud's points that stays; it is
            drawn between this and all. Defaults to 0.5.

    Example:
    ```python
    import numpy as np
    from keras_pointpeft.data.augmentation import OneSided

    points = np.random.default_rng(0).normal(size=(2, 64, 3))
    seen = OneSided(share=1.0)(points, np.random.default_rng(1))
    ```
    """

    share: float = 0.5
    least: float = 0.5
    name = "one_sided"

    def __post_init__(self):
        if not (0 <= self.share <= 1 and 0 < self.least <= 1):
            raise ValueError(
                "`share` must be in [0, 1] and `least` in (0, 1]. "
                f"Received: share={self.share}, least={self.least}"
            )

    def __call__(self, points, rng):
        points = _points(points)
        batch, count, _ = points.shape
        direction = rng.standard_normal((batch, 3, 1), "float32")
        part = rng.uniform(self.least, 1, batch)
        part[rng.random(batch) >= self.share] = 1
        stay = np.maximum(np.ceil(part * count), 1).astype(int)
        depth = (points @ direction)[..., 0]
        order = np.argsort(-depth, axis=1, kind="stable")
        # Places of points that are gone are filled from those that stay.
        others = (rng.random((batch, count)) * stay[:, None]).astype(int)
        place = np.arange(count)
        chosen = np.where(place < stay[:, None], place, others)
        chosen = np.take_along_axis(order, chosen, 1)
        # Points keep their order as far as they stay.
        seen = np.take_along_axis(points, np.sort(chosen, 1)[..., None], 1)
        return unit_sphere(seen)


@dataclass(frozen=True)
class Compose(Augmentation):
    """Several augmentations, one after the other.

    Args:
        steps: sequence of what `get` takes.
    """

    steps: tuple = ()
    name = "compose"

    def __post_init__(self):
        object.__setattr__(self, "steps", tuple(get(s) for s in self.steps))

    def __call__(self, points, rng):
        points = _points(points)
        for step in self.steps:
            points = step(points, rng)
        return points

    def get_config(self):
        steps = [step.get_config() for step in self.steps]
        return {"name": self.name, "steps": steps}


AUGMENTATIONS = {
    kind.name: kind
    for kind in (
        NoAugmentation,
        ScaleTranslate,
        Rotate,
        ScaleRotate,
        Jitter,
        OneSided,
        Compose,
    )
}


def get(identifier) -> Augmentation:
    """An augmentation from its name, config, or a list of them.

    Args:
        identifier: None, string of `AUGMENTATIONS`, config dict, an object
            called as `(points, rng)`, or a list or tuple of these, which are
            composed.

    Example:

    ```python
    from keras_pointpeft.data import augmentation

    augmentation.get("scale_translate")
    augmentation.get({"name": "rotate", "axis": "z"})
    augmentation.get(["scale_rotate", "jitter"])
    ```
    """
    if identifier is None:
        return NoAugmentation()
    if isinstance(identifier, (list, tuple)):
        return Compose(tuple(identifier))
    if callable(identifier):
        return identifier
    config = identifier
    if isinstance(identifier, str):
        config = {"name": identifier}
    if not isinstance(config, dict) or config.get("name") not in AUGMENTATIONS:
        raise ValueError(
            f"An augmentation is one of {sorted(AUGMENTATIONS)}, a config, "
            f"or a callable. Received: {identifier!r}"
        )
    arguments = {k: v for k, v in config.items() if k != "name"}
    return AUGMENTATIONS[config["name"]](**arguments)


def in_words(identifier) -> str:
    """What `get` takes, as a person writes it.

    Example:

    ```python
    from keras_pointpeft.data import augmentation

    augmentation.in_words({"name": "rotate", "axis": "z"})  # "rotate (axis z)"
    augmentation.in_words(["rotate", "jitter"])  # "rotate + jitter"
    ```
    """
    if isinstance(identifier, (list, tuple)):
        return " + ".join(in_words(step) for step in identifier) or "none"
    if isinstance(identifier, Compose):
        return in_words(identifier.steps)
    if isinstance(identifier, Augmentation):
        return in_words(identifier.get_config())
    if not isinstance(identifier, dict):
        return str(identifier or "none").lower()
    arguments = {k: v for k, v in identifier.items() if k != "name"}
    words = ", ".join(f"{name} {value}" for name, value in arguments.items())
    return f"{identifier['name']} ({words})" if words else identifier["name"]


def _points(points):
    points = to_float32(points)
    check_clouds(points)
    return points


def _scale(augmentation, rng, batch):
    axes = 1 if getattr(augmentation, "isotropic", False) else 3
    scale = rng.uniform(augmentation.low, augmentation.high, (batch, 1, axes))
    return scale.astype("float32")


def _rotation(angle, axis):
    matrix = np.zeros((len(angle), 3, 3), "float32")
    k = "xyz".index(axis)
    i, j = (k + 1) % 3, (k + 2) % 3  # for y: z and x
    matrix[:, k, k] = 1
    matrix[:, i, i] = matrix[:, j, j] = np.cos(angle)
    matrix[:, i, j] = -np.sin(angle)
    matrix[:, j, i] = np.sin(angle)
    return matrix


def _check_range(low, high):
    if not 0 < low <= high:
        raise ValueError(
            f"The scale needs 0 < low <= high. Received: low={low}, high={high}"
        )
