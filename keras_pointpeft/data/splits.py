"""`Split`: labelled clouds in memory, and a stratified division of one."""

from dataclasses import dataclass
from dataclasses import replace

import numpy as np

from keras_pointpeft.data.checks import check_clouds
from keras_pointpeft.data.clouds import as_floats
from keras_pointpeft.data.clouds import to_float32


@dataclass(frozen=True, eq=False)
class Split:
    """Clouds of one split of a data set, with their labels.

    Args:
        points: array `(clouds, points, 3)`, float32; float64 where float32
            would cut map coordinates. A memory-mapped array stays one.
        labels: array `(clouds,)`, int32, each below `len(class_names)`.
        class_names: tuple of strings; the position is the label.
        ids: optional tuple of strings, one for each cloud.
        name: string, for messages.
        part_labels: optional array `(clouds, points)`, int32; -1 where a
            point has none (255 becomes -1 where it is no part).
        part_names: optional tuple of strings; the position is the part
            label.
        source: optional dict, how it was read: the `"dataset"` of
            `keras_pointpeft.data.load` and the options of its loader.
        channels: optional float32 array `(clouds, points, channels)`, what
            points have beside their place, see `PointCloudDataset`.

    Raises:
        ValueError: shapes that do not fit each other, or labels outside of
            the names.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data import Split

    split = Split(
        points=np.zeros((4, 128, 3), "float32"),
        labels=np.array([0, 0, 1, 1]),
        class_names=("chair", "table"),
    )
    len(split), split.num_classes  # 4, 2
    ```
    """

    points: np.ndarray
    labels: np.ndarray
    class_names: tuple
    ids: tuple | None = None
    name: str = "clouds"
    part_labels: np.ndarray | None = None
    part_names: tuple | None = None
    source: dict | None = None
    channels: np.ndarray | None = None

    def __post_init__(self):
        _set(self, "points", _precise(self.points))
        _set(self, "labels", _whole("labels", self.labels))
        _set(self, "class_names", tuple(str(c) for c in self.class_names))
        if self.ids is not None:
            _set(self, "ids", tuple(str(i) for i in self.ids))
        if self.part_labels is not None:
            _set(self, "part_labels", _whole("part_labels", self.part_labels))
        if self.part_names is not None:
            _set(self, "part_names", tuple(str(p) for p in self.part_names))
        self._check()

    def _check(self):
        shape = self.points.shape
        check_clouds(self.points)
        for what in ("labels", "ids"):
            value = getattr(self, what)
            size = shape[:1] if value is None else np.shape(value)
            if size != shape[:1]:
                raise ValueError(
                    f"`{what}` must have one entry for each of the "
                    f"{shape[0]} clouds. Received: shape {size}"
                )
        if self.channels is not None and (
            self.channels.ndim != 3 or self.channels.shape[:2] != shape[:2]
        ):
            raise ValueError(
                "`channels` must have numbers for each point, "
                f"{(*shape[:2], 'channels')}. Received: shape "
                f"{self.channels.shape}"
            )
        if self.part_labels is not None:
            if self.part_labels.shape != shape[:2]:
                raise ValueError(
                    "`part_labels` must have one entry for each point, "
                    f"{shape[:2]}. Received: shape {self.part_labels.shape}"
                )
            limit = 255 if self.part_names is None else len(self.part_names)
            parts = self.part_labels
            if limit <= 255 and (parts == 255).any():
                parts = np.where(parts == 255, -1, parts).astype("int32")
                _set(self, "part_labels", parts)
            if self.part_names is not None:
                _check_range("part_labels", parts[parts != -1], limit)
        _check_range("labels", self.labels, len(self.class_names))

    def __len__(self):
        return len(self.points)

    @property
    def num_classes(self):
        return len(self.class_names)

    def with_classes(self, class_names, part_names=None):
        """The same clouds with the labels that a model knows their classes by.

        Args:
            class_names: sequence of strings, the model's classes; classes
                are matched by name.
            part_names: optional sequence of strings, the model's parts,
                which are matched likewise where this split names its own.

        Raises:
            ValueError: the model does not know a class or part that there is
                here.
        """
        labels, names = self._matched("classes", self.labels, class_names)
        parts, known = self.part_labels, self.part_names
        if part_names is not None and known is not None:
            parts, known = self._matched("parts", parts, part_names)
        return replace(
            self,
            labels=labels,
            class_names=names,
            part_labels=parts,
            part_names=known,
        )

    def _matched(self, what, labels, wanted):
        own = self.class_names if what == "classes" else self.part_names
        wanted = tuple(str(name) for name in wanted)
        if wanted == own:
            return labels, own
        there = np.unique(labels[labels >= 0])
        unknown = [own[label] for label in there if own[label] not in wanted]
        if unknown:
            raise ValueError(
                f"The {what} of {self.name} must be among the model's, "
                f"{_listed(wanted)}: rename them or leave them out. "
                f"Received: {_listed(unknown)}, which it does not know"
            )
        places = [wanted.index(n) if n in wanted else -1 for n in own]
        # The last one is that of points without a label, -1.
        return np.array([*places, -1], "int32")[labels], wanted

    def take(self, indices, name=None):
        """The clouds at `indices` (integers or a mask) as a new `Split`."""
        indices = np.asarray(indices)
        if indices.dtype == bool:
            indices = np.flatnonzero(indices)
        ids, parts, beside = self.ids, self.part_labels, self.channels
        return replace(
            self,
            points=self.points[indices],
            labels=self.labels[indices],
            ids=None if ids is None else tuple(ids[i] for i in indices),
            part_labels=None if parts is None else parts[indices],
            channels=None if beside is None else beside[indices],
            name=self.name if name is None else name,
        )


def train_validation_split(
    split: Split, fraction: float = 0.1, seed: int = 0
) -> tuple[Split, Split]:
    """Divides a split into a training and a validation part, by class.

    Each class gives `fraction` of its clouds to the validation part, rounded
    so that the whole is `round(fraction * clouds)` as nearly as possible. A
    class never gives its last cloud. Both parts keep the order of the split.

    Args:
        split: `Split`.
        fraction: float in (0, 1), the validation part.
        seed: int, which clouds are drawn.

    Returns:
        `(training, validation)`, two `Split`s.

    Raises:
        ValueError: if `fraction` does not lie between 0 and 1.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data import Split
    from keras_pointpeft.data import train_validation_split

    split = Split(
        np.zeros((20, 64, 3), "float32"), np.arange(20) % 2, ("a", "b")
    )
    training, validation = train_validation_split(split, 0.2, seed=1)
    len(training), len(validation)  # 16, 4
    ```
    """
    if not 0 < fraction < 1:
        raise ValueError(
            f"`fraction` must lie between 0 and 1. Received: {fraction}"
        )
    counts = np.bincount(split.labels, minlength=split.num_classes)
    exact = counts * fraction
    give = np.floor(exact).astype(int)
    missing = round(fraction * len(split)) - int(give.sum())
    # Largest remainders first, lower label on ties.
    for label in np.argsort(give - exact, kind="stable")[: max(missing, 0)]:
        give[label] += 1
    give = np.minimum(give, np.maximum(counts - 1, 0))
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(split), bool)
    for label in np.flatnonzero(counts):
        members = rng.permutation(np.flatnonzero(split.labels == label))
        chosen[members[: give[label]]] = True
    return (
        split.take(~chosen, f"{split.name} training"),
        split.take(chosen, f"{split.name} validation"),
    )


def _listed(names):
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(map(repr, names[:20])) + more


def _whole(what, labels):
    """Labels as int32; fractions and names are refused."""
    if isinstance(labels, np.ndarray) and labels.dtype == "int32":
        return labels  # a memory map stays one
    array = np.asarray(labels)
    if not array.size:
        return array.astype("int32")
    if array.dtype.kind not in "fiub" or (array != np.floor(array)).any():
        raise ValueError(
            f"`{what}` must be whole numbers, positions in the names. "
            f"Received: {array.ravel()[:3].tolist()}"
        )
    return array.astype("int32")


def _precise(points):
    """float32, unless clouds lie too far from the origin for it."""
    points = as_floats(points)
    if points.dtype == "float32" or not np.isfinite(points).all():
        return points.astype("float32", copy=False)
    try:
        return to_float32(points)
    except ValueError:
        return points


def _set(frozen, name, value):
    object.__setattr__(frozen, name, value)


def _check_range(what, labels, limit):
    bad = labels[(labels < 0) | (labels >= limit)]
    if bad.size:
        raise ValueError(
            f"`{what}` must lie between 0 and {limit - 1}, the names that "
            f"were given. Received: {sorted(set(bad.tolist()))[:10]} "
            f"({bad.size} entries)"
        )
