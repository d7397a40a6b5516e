"""`EpochDataset`: batches that know their epoch, made ahead by threads."""

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
