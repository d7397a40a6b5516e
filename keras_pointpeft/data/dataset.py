"""`PointCloudDataset`: reproducible, resumable batches for `fit`."""

import copy

import numpy as np

from keras_pointpeft.data import augmentation as augmentations
from keras_pointpeft.data.batches import EpochDataset
from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.coordinates import as_floats
from keras_pointpeft.data.coordinates import to_float32
from keras_pointpeft.data.fps import farthest_point_indices
from keras_pointpeft.data.normalization import unit_sphere
from keras_pointpeft.data.sampling import SAMPLING
from keras_pointpeft.data.sampling import gather_points
from keras_pointpeft.data.sampling import sample_indices

_ORDER, _BATCH = 0, 1  # streams of random numbers


class PointCloudDataset(EpochDataset):
    """Batches of point clouds, sampled and augmented.

    Batch `b` of epoch `e` depends on `(seed, e, b)` alone, not on what ran
    before, on threads, or on the backend. So a run that stops in epoch 7 goes
    on exactly with `dataset.epoch = 7`; see `FollowEpoch`. Pass
    `shuffle=False` to `fit`: Keras would otherwise reorder the batches from
    Python's global random state.

    The published protocols are

    * training: `sampling="fps_then_random"`. FPS to 1200 points for 1024
      (2400 for 2048, 4800 for 4096), from a random first point, capped at
      what is available; then a random choice of `num_points`. Where that cap
      leaves nothing for FPS to choose (ScanObjectNN: 2048 of 2048), FPS would
      only reorder the cloud before it is shuffled, and is skipped.
    * evaluation: `sampling="fps"`, FPS to `num_points` from point 0. With
      exactly `num_points` it would reorder the cloud, keeping point 0 first,
      and is skipped: a later FPS from point 0 chooses the same points. The
      indices are kept, so that later epochs do not compute them again.

    Args:
        points: array `(clouds, points, 3)`, also memory-mapped; or a `Split`.
            Map coordinates need float64 and `normalize=True`.
        labels: array `(clouds, ...)`. Defaults to None: batches of points.
        batch_size: int. Defaults to 32.
        num_points: int, points of each cloud. Defaults to None, all.
        sampling: "random" (a random choice), "fps", "first" (the first
            points, for files in FPS order) or "fps_then_random".
        augmentation: what `augmentation.get` takes. Defaults to "none".
        shuffle: bool, a new order of clouds in each epoch.
        drop_last: bool, leave out an incomplete last batch.
        even: bool, batches of nearly equal size in place of an incomplete
            last one. None has a single cloud, if there are two.
        balanced: bool, draw as many clouds of each class in an epoch, rarer
            ones repeatedly. Needs `labels` `(clouds,)` and `shuffle`.
        normalize: bool, clouds to the unit sphere, before sampling.
        seed: int, not negative.
        weights: optional array `(clouds,)` of sample weights.
        repeat_points: bool, fill clouds that have too few points by
            repeating some. Defaults to False: too few is an error.
        point_labels: optional int array `(clouds, points)`, for
            segmentation. They become the targets, sampled like the points;
            with `labels` too the inputs are a dict of "points" and
            "category", the labels.
        channels: optional array `(clouds, points, channels)`, what points
            have beside their place: colours from 0 to 1, normals, intensity,
            for a backbone with `extra_channels`. They are sampled like the
            points and stand behind x, y, z in the batches. Augmentation
            leaves them as they are: with normals, take none that turns.
        **kwargs: `workers`, `max_queue_size` of
            `keras_pointpeft.data.EpochDataset`.

    Raises:
        ValueError: shapes that do not fit, or too few points.

    Example:

    ```python
    import numpy as np
    from keras_pointpeft.data import PointCloudDataset

    rng = np.random.default_rng(0)
    train = PointCloudDataset(
        rng.normal(size=(64, 256, 3)),
        rng.integers(0, 4, 64),
        batch_size=16,
        num_points=128,
        sampling="fps_then_random",
        augmentation="scale_translate",
        shuffle=True,
    )
    points, labels = train[0]  # (16, 128, 3), (16,)
    ```
    """

    def __init__(
        self,
        points,
        labels=None,
        batch_size=32,
        num_points=None,
        sampling="random",
        augmentation="none",
        shuffle=False,
        drop_last=False,
        even=False,
        balanced=False,
        normalize=False,
        seed=0,
        weights=None,
        repeat_points=False,
        point_labels=None,
        channels=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if hasattr(points, "class_names"):  # a Split
            labels = points.labels if labels is None else labels
            channels = points.channels if channels is None else channels
            points = points.points
        points = as_floats(points)
        check_choice("sampling", sampling, SAMPLING)
        self.points = points
        self.labels = None if labels is None else np.asarray(labels)
        self.point_labels = (
            None if point_labels is None else np.asarray(point_labels)
        )
        self.weights = None if weights is None else np.asarray(weights)
        self.channels = None if channels is None else as_floats(channels)
        self.batch_size = int(batch_size)
        self.sampling = sampling
        self.augmentation = augmentations.get(augmentation)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.even = even
        self.balanced = balanced
        self.normalize = normalize
        self.seed = seed
        self.repeat_points = repeat_points
        self._check()
        available = points.shape[1]
        self.num_points = available if num_points is None else num_points
        if self.num_points < 1 or (
            available < self.num_points and not repeat_points
        ):
            raise ValueError(
                f"The clouds have {available} points, too few. Pass "
                "`repeat_points=True` to repeat some. "
                f"Received: num_points={num_points}"
            )
        self.shard = (0, 1)
        self._order = (None, None)
        self._kept = {}

    def _check(self):
        shape = self.points.shape
        if len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise ValueError(
                "`points` must have the shape (clouds, points, 3). "
                f"Received: {shape}"
            )
        for what in ("labels", "weights"):
            value = getattr(self, what)
            if value is not None and value.shape[:1] != shape[:1]:
                raise ValueError(
                    f"`{what}` must have one entry for each of the "
                    f"{shape[0]} clouds. Received: shape {value.shape}"
                )
        if self.channels is not None and (
            self.channels.shape[:2] != shape[:2] or self.channels.ndim != 3
        ):
            raise ValueError(
                f"`channels` must have the shape {(*shape[:2], 'channels')}. "
                f"Received: {self.channels.shape}"
            )
        if self.point_labels is not None:
            if self.point_labels.shape != shape[:2]:
                raise ValueError(
                    f"`point_labels` must have the shape {shape[:2]}. "
                    f"Received: {self.point_labels.shape}"
                )
        elif self.labels is None:
            if self.weights is not None:
                raise ValueError(
                    "`weights` need `labels`. Received: labels=None"
                )
        elif self.labels.shape[1:2] == shape[1:2]:
            raise ValueError(
                "`labels` with one entry for each point must be given as "
                "`point_labels`, to be sampled like the points. "
                f"Received: labels of shape {self.labels.shape}"
            )
        if self.batch_size < 1 or (
            self.drop_last and self.batch_size > shape[0]
        ):
            raise ValueError(
                "`batch_size` must leave at least one batch of the "
                f"{shape[0]} clouds. Received: {self.batch_size}"
            )
        if self.even and self.drop_last:
            raise ValueError(
                "Batches are either even or complete. "
                "Received: even=True, drop_last=True"
            )
        if self.balanced and (
            not self.shuffle or self.labels is None or self.labels.ndim != 1
        ):
            raise ValueError(
                "`balanced` needs `shuffle=True` and one label for each cloud. "
                f"Received: shuffle={self.shuffle}, labels of shape "
                f"{None if self.labels is None else self.labels.shape}"
            )
        if not isinstance(self.seed, (int, np.integer)) or self.seed < 0:
            raise ValueError(
                f"`seed` must be an integer from 0. Received: {self.seed!r}"
            )

    @property
    def shard(self):
        """tuple `(number, count)`: this is one of so many processes.

        Each then serves its part of every batch; `batch_size` is that of all
        together. It may be set.
        """
        return self._shard

    @shard.setter
    def shard(self, value):
        number, count = value
        smallest = min(self.batch_size, len(self.points))
        if not 0 <= number < count <= smallest or self.batch_size % count:
            raise ValueError(
                "Batches must be divisible among the processes: the batch "
                f"size is {self.batch_size}, for {len(self.points)} clouds. "
                f"Received: shard={value}"
            )
        if (
            not self.drop_last
            and 0 < len(self.points) % self.batch_size < count
        ):
            raise ValueError(
                "The last batch has fewer clouds than there are processes; "
                f"use `drop_last=True`. Received: shard={value}"
            )
        self.forget_ahead()
        self._shard = (int(number), int(count))

    @property
    def num_batches(self):
        full, rest = divmod(len(self.points), self.batch_size)
        if self.even and len(self.points) < 2 * (full + 1):
            return max(full, 1)
        return full if self.drop_last or not rest else full + 1

    def indices(self, index):
        """The positions of the clouds of batch `index` in this epoch."""
        if not 0 <= index < self.num_batches:
            raise IndexError(
                f"There are {self.num_batches} batches. Received: {index}"
            )
        begin, end = index * self.batch_size, (index + 1) * self.batch_size
        if self.even:
            steps = np.array([index, index + 1]) * len(self.points)
            begin, end = steps // self.num_batches
        rows = self._epoch_order()[begin:end]
        number, count = self.shard
        # As many for each, so that all train equally long.
        return rows[: len(rows) // count * count][number::count]

    def make_batch(self, index):
        rows = self.indices(index)
        number, count = self.shard
        # Each shard draws numbers of its own.
        rng = self._rng(_BATCH, index, *([number] if count > 1 else []))
        # A slice of a memory map is read in one go, rows come one by one.
        part = rows if self.shuffle else slice(rows[0], rows[-1] + 1, count)
        points = np.asarray(self.points[part])
        if self.normalize:
            points = unit_sphere(points)
        else:
            points = to_float32(points)
        indices = self._indices(points, rows, rng)
        points = self.augmentation(gather_points(points, indices), rng)
        points = np.asarray(points, "float32")
        if self.channels is not None:
            beside = gather_points(np.asarray(self.channels[part]), indices)
            points = np.concatenate([points, beside], -1, dtype="float32")
        labels = None if self.labels is None else self.labels[rows]
        if self.point_labels is not None:
            if labels is not None:
                points = {"points": points, "category": labels}
            labels = gather_points(self.point_labels[rows], indices)
        if labels is None:
            return (points,)
        if self.weights is None:
            return points, labels
        return points, labels, self.weights[rows]

    def ordered(self):
        """The same clouds, all of them, in the order of `points`."""
        other = copy.copy(self)
        other.shuffle, other.drop_last, other.shard = False, False, (0, 1)
        other.even, other.balanced = False, False
        other._order = (None, None)
        return other

    def as_arrays(self):
        """The whole current epoch as arrays, in the order of its batches.

        Returns:
            What a batch is, with all clouds of the epoch.
        """
        batches = [self.make_batch(i) for i in range(self.num_batches)]
        return tuple(_joined(part) for part in zip(*batches))

    def _rng(self, *stream):
        return np.random.default_rng((self.seed, self.epoch, *stream))

    def _epoch_order(self):
        epoch, order = self._order
        if epoch != self.epoch:
            order = np.arange(len(self.points))
            if self.shuffle:
                rng = self._rng(_ORDER, 0)
                order = rng.permutation(self._drawn(order, rng))
            self._order = (self.epoch, order)
        return order

    def _drawn(self, order, rng):
        """As many clouds as there are; balanced, of all classes alike."""
        if not self.balanced:
            return order
        members = [
            np.flatnonzero(self.labels == label)
            for label in np.unique(self.labels)
        ]
        each = -(-len(order) // len(members))
        drawn = [
            np.concatenate(
                [rng.permutation(m) for _ in range(-(-each // len(m)))]
            )[:each]
            for m in members
        ]
        # One of each class in turn, so that a cut at the end takes one each.
        return np.stack(drawn, axis=1).ravel()[: len(order)]

    def _indices(self, points, rows, rng):
        wanted = self.num_points
        if self.sampling == "fps" and wanted < points.shape[1]:
            return self._fps(points, rows)
        return sample_indices(
            points, wanted, self.sampling, rng, self.repeat_points
        )

    def _fps(self, points, rows):
        missing = [i for i, row in enumerate(rows) if row not in self._kept]
        if missing:
            found = farthest_point_indices(points[missing], self.num_points)
            for i, indices in zip(missing, found):
                self._kept[rows[i]] = indices
        return np.stack([self._kept[row] for row in rows])


def _joined(parts):
    if isinstance(parts[0], dict):
        return {key: _joined([p[key] for p in parts]) for key in parts[0]}
    return np.concatenate(parts)
