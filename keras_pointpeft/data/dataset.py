"""Batches for `fit`, reproducible and resumable.

They depend on the epoch and their place in it alone.
"""

import copy
from concurrent import futures

import keras
import numpy as np

from keras_pointpeft.data import augmentation as augmentations
from keras_pointpeft.data.checks import check_choice
from keras_pointpeft.data.checks import check_dataset
from keras_pointpeft.data.clouds import SAMPLING
from keras_pointpeft.data.clouds import as_floats
from keras_pointpeft.data.clouds import check_enough
from keras_pointpeft.data.clouds import farthest_point_indices
from keras_pointpeft.data.clouds import gather_points
from keras_pointpeft.data.clouds import sample_indices
from keras_pointpeft.data.clouds import to_float32
from keras_pointpeft.data.normalization import unit_sphere

_ORDER, _BATCH = 0, 1  # streams of random numbers


class EpochDataset(keras.utils.PyDataset):
    """Base of data sets whose batches depend on their epoch and place alone.

    A subclass says `num_batches` and makes a batch in `make_batch(index)`,
    from `self.epoch`. With workers, the batches behind the one that is asked
    for are made meanwhile. Keras' own queue is not used: it would lose the
    first batch of a run and serve every epoch one batch late.

    Args:
        workers: int. Threads that make batches; with 1, the caller does.
        use_multiprocessing: must be False; threads do.
        max_queue_size: int. How many batches are made ahead at most.

    Raises:
        ValueError: for `use_multiprocessing`, and for numbers of workers or
            batches out of range.

    Example:
    ```python
    import numpy as np
    from keras_pointpeft.data import EpochDataset

    class Noise(EpochDataset):
        num_batches = 4

        def make_batch(self, index):
            rng = np.random.default_rng((self.epoch, index))
            return rng.normal(size=(2, 64, 3)), np.zeros(2, "int32")

    points, labels = Noise(workers=2)[0]
    ```
    """

    def __init__(self, workers=1, use_multiprocessing=False, max_queue_size=10):
        if use_multiprocessing:
            raise ValueError(
                "Batches are made by threads, which numpy lets run side by "
                f"side: pass `workers={max(workers, 2)}` alone. "
                "Received: use_multiprocessing=True"
            )
        if workers < 0 or max_queue_size < 1:
            raise ValueError(
                "`workers` must be at least 0 and `max_queue_size` at least "
                f"1. Received: workers={workers}, "
                f"max_queue_size={max_queue_size}"
            )
        # What Keras is told: no queue of its own.
        super().__init__(workers=1)
        self.num_threads = workers if workers > 1 else 0
        self.max_queue_size = max_queue_size
        self._pool, self._ahead = None, {}
        self._last_served = False
        self.epoch = 0

    def make_batch(self, index):
        """The batch at place `index` of `self.epoch`."""
        raise NotImplementedError

    def __len__(self):
        return self.num_batches

    def __getitem__(self, index):
        if not 0 <= index < self.num_batches:
            raise IndexError(
                f"There are {self.num_batches} batches. Received: {index}"
            )
        batch = self._from_threads(index)
        if index == self.num_batches - 1:
            self._last_served = True
        return batch

    @property
    def epoch(self):
        """int, the epoch whose batches are served; it may be set."""
        return self._epoch

    @epoch.setter
    def epoch(self, value):
        if value < 0:
            raise ValueError(f"`epoch` counts from 0. Received: {value}")
        self.forget_ahead()
        self._epoch = int(value)

    def on_epoch_begin(self):
        self._last_served = False

    def on_epoch_end(self):
        # Keras also calls this after it has looked at a first batch only, to
        # build the model; that was no epoch.
        if self._last_served:
            self.epoch += 1
        self._last_served = False

    def forget_ahead(self):
        """Drops what was made ahead, before something that it depends on."""
        for future in self._ahead.values():
            future.cancel()
        futures.wait(self._ahead.values())
        self._ahead = {}

    def _from_threads(self, index):
        if not self.num_threads:
            return self.make_batch(index)
        if self._pool is None:
            self._pool = futures.ThreadPoolExecutor(self.num_threads)
        wanted = range(index, index + 1 + self.max_queue_size)
        for i in wanted[: self.num_batches - index]:
            if i not in self._ahead:
                self._ahead[i] = self._pool.submit(self.make_batch, i)
        return self._ahead.pop(index).result()

    def __getstate__(self):
        # Copies have threads of their own.
        return {**self.__dict__, "_pool": None, "_ahead": {}}


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
        check_dataset(self)
        available = points.shape[1]
        self.num_points = available if num_points is None else num_points
        if self.num_points < 1:
            raise ValueError(
                "`num_points` must be at least 1. "
                f"Received: num_points={num_points}"
            )
        if not repeat_points:
            check_enough(available, self.num_points)
        self.shard = (0, 1)
        self._order = (None, None)
        self._kept = {}

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
        points = gather_points(points, indices)
        if not isinstance(self.augmentation, augmentations.NoAugmentation):
            points = self.augmentation(points, rng)
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


class FollowEpoch(keras.callbacks.Callback):
    """Keeps a dataset's epoch equal to the epoch of `fit`.

    With it `fit(initial_epoch=7)` serves exactly the batches that an
    uninterrupted run has in epoch 7.

    Args:
        dataset: `PointCloudDataset`.

    Example:
    ```python
    import keras_pointpeft
    from keras_pointpeft.data import FollowEpoch
    from keras_pointpeft.data import PointCloudDataset
    from keras_pointpeft.data import load_shapes

    train = PointCloudDataset(load_shapes(num_clouds=40), shuffle=True)
    model = keras_pointpeft.from_preset("dapt_pointmaetiny_shapes")
    model.fit(
        train,
        epochs=10,
        initial_epoch=9,
        shuffle=False,
        callbacks=[FollowEpoch(train)],
    )
    ```
    """

    def __init__(self, dataset):
        super().__init__()
        self.dataset = dataset

    def on_epoch_begin(self, epoch, logs=None):
        self.dataset.epoch = epoch
