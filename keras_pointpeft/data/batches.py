"""What yields batches: by epochs, and with each batch looked at as it comes."""

import copy
import types
from concurrent import futures

import keras


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


def checked_stream(x, door):
    """A source of batches whose batches go through a `Door`.

    Args:
        x: what `fit` takes: a `keras.utils.PyDataset`, a generator, a torch
            `DataLoader` or a `tf.data.Dataset`.
        door: `keras_pointpeft.data.incoming.Door`.

    Returns:
        A source of the same kind, or None if `x` is none of these.
    """
    if isinstance(x, CheckedDataset):
        return x
    if isinstance(x, keras.utils.PyDataset):
        return CheckedDataset(x, door)
    if isinstance(x, types.GeneratorType):
        return (door.batch(batch) for batch in x)
    if _is_from(x, "torch.utils.data", "DataLoader"):
        loader = copy.copy(x)
        loader.collate_fn = _CheckedCollate(x.collate_fn, door)
        return loader
    if hasattr(x, "element_spec") and hasattr(x, "map"):
        return _checked_tf(x, door)
    return None


class CheckedDataset(keras.utils.PyDataset):
    """A data set whose batches go through a `Door`.

    Args:
        dataset: `keras.utils.PyDataset`.
        door: `Door`.
    """

    def __init__(self, dataset, door):
        super().__init__(
            workers=dataset.workers,
            use_multiprocessing=dataset.use_multiprocessing,
            max_queue_size=dataset.max_queue_size,
        )
        self.dataset = dataset
        self.door = door

    @property
    def num_batches(self):
        return self.dataset.num_batches

    def __getitem__(self, index):
        return self.door.batch(self.dataset[index])

    def on_epoch_begin(self):
        self.dataset.on_epoch_begin()

    def on_epoch_end(self):
        self.dataset.on_epoch_end()


class _CheckedCollate:
    """What a torch `DataLoader` makes a batch with, and the door behind."""

    def __init__(self, collate, door):
        self.collate, self.door = collate, door

    def __call__(self, samples):
        return self.door.batch(self.collate(samples))


def _checked_tf(dataset, door):
    """A `tf.data.Dataset` whose batches are looked at on the host."""
    import tensorflow as tf

    def look(*batch):
        flat = tf.nest.flatten(batch)
        kinds = [tensor.dtype for tensor in flat]
        if len(batch) > 1 and door.integer_labels:
            # Behind the inputs; -1 needs a sign.
            kinds[len(tf.nest.flatten(batch[0]))] = tf.int32

        def check(*values):
            arrays = [value.numpy() for value in values]
            try:
                seen = door.batch(tf.nest.pack_sequence_as(batch, arrays))
            except ValueError as error:
                door.refused = error
                raise
            return [
                tf.cast(value, kind)
                for value, kind in zip(tf.nest.flatten(seen), kinds)
            ]

        seen = tf.py_function(check, flat, kinds)
        for tensor, before in zip(seen, flat):
            tensor.set_shape(before.shape)
        seen = tf.nest.pack_sequence_as(batch, seen)
        return seen if len(seen) > 1 else seen[0]

    return dataset.map(look)


def _is_from(x, module, name):
    return any(
        kind.__module__.startswith(module) and kind.__name__ == name
        for kind in type(x).__mro__
    )
