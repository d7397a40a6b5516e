"""What training does not change of clouds, computed once per data set."""

import hashlib
import json
import os

import keras
import numpy as np
from absl import logging
from keras import ops

from keras_pointpeft.data import PointCloudDataset
from keras_pointpeft.data.augmentation import NoAugmentation
from keras_pointpeft.files.progress import telling
from keras_pointpeft.files.whole import whole_folder
from keras_pointpeft.models import frozen_stem
from keras_pointpeft.training.checkpoint import data_digest
from keras_pointpeft.version import __version__


class CachedBatches(keras.utils.PyDataset):
    """The batches of a data set, with arrays in place of the clouds.

    Args:
        batches: `keras_pointpeft.data.PointCloudDataset`.
        arrays: dict of arrays `(clouds, ...)`, see `stem_arrays`.
    """

    def __init__(self, batches, arrays):
        super().__init__()
        self.batches = batches
        self.arrays = arrays

    @property
    def num_batches(self):
        return self.batches.num_batches

    def __len__(self):
        return len(self.batches)

    @property
    def epoch(self):
        """int, the epoch whose batches are served; it may be set."""
        return self.batches.epoch

    @epoch.setter
    def epoch(self, value):
        self.batches.epoch = value

    @property
    def shard(self):
        """tuple, see `keras_pointpeft.data.PointCloudDataset.shard`."""
        return self.batches.shard

    @shard.setter
    def shard(self, value):
        self.batches.shard = value

    def on_epoch_begin(self):
        self.batches.on_epoch_begin()

    def on_epoch_end(self):
        self.batches.on_epoch_end()

    def __getitem__(self, index):
        rows = self.batches.indices(index)
        _, *targets = self.batches[index]
        return ({k: x[rows] for k, x in self.arrays.items()}, *targets)


@telling("filling the cache")
def apply(task, batches, shown, where):
    """Puts a cache between a task and its batches.

    Args:
        task: a task that is ready to train.
        batches: `keras_pointpeft.data.PointCloudDataset` to train on.
        shown: the same to validate on, or None.
        where: `"memory"` or a directory for memory-mapped files.

    Returns:
        A model to train in place of the task, which has its variables, its
        batches, and those to validate on, or None.

    Raises:
        ValueError: if clouds are not the same in each epoch, or the task
            changes the clouds themselves.
    """
    given = [each for each in (batches, shown) if each is not None]
    for each in given:
        check_repeatable(each)
    stem, rest = frozen_stem.split(task)
    directory = None if where == "memory" else where
    batches, *others = (
        CachedBatches(each, stem_arrays(task, stem, each, directory))
        for each in given
    )
    return rest, batches, others[0] if others else None


def check_repeatable(batches):
    """Raises ValueError if the clouds are not the same in each epoch."""
    if not isinstance(batches, PointCloudDataset):
        raise ValueError(
            "A cache needs clouds that are the same in each epoch; columns "
            "of rooms are drawn anew. "
            f"Received: {type(batches).__name__}"
        )
    steps = getattr(batches.augmentation, "steps", (batches.augmentation,))
    fixed = all(isinstance(step, NoAugmentation) for step in steps)
    if not fixed or batches.sampling not in ("fps", "first"):
        raise ValueError(
            "A cache needs clouds that are the same in each epoch: "
            "augmentation='none' and sampling='fps' or 'first'. Received: "
            f"augmentation={type(batches.augmentation).__name__}, "
            f"sampling={batches.sampling!r}"
        )


def stem_arrays(task, stem, batches, directory=None) -> dict:
    """What a task's stem makes of all clouds, in the order of the data set.

    Args:
        task: the task.
        stem: its stem, see `keras_pointpeft.models.frozen_stem.split`.
        batches: `keras_pointpeft.data.PointCloudDataset` whose clouds are the
            same in each epoch.
        directory: optional path. The arrays are then files in a folder of it
            that is named after task, weights and clouds, mapped into memory;
            where there is such a folder already, nothing is computed.

    Returns:
        dict of arrays `(clouds, ...)`.
    """
    if directory is None:
        return _computed(stem, batches, lambda name, *array: np.empty(*array))
    folder = os.path.join(directory, _digest(task, stem, batches))
    if not os.path.isdir(folder):
        _write(stem, batches, folder)
    return {
        name: np.load(_file(folder, name), mmap_mode="r")
        for name in stem.output
    }


def _write(stem, batches, folder):
    # Another process may be faster, with the same arrays.
    with whole_folder(folder) as made:

        def make(name, shape, dtype):
            file = _file(made, name)
            return np.lib.format.open_memmap(file, "w+", dtype, shape)

        for array in _computed(stem, batches, make).values():
            array.flush()


def _computed(stem, batches, make):
    ordered, arrays = batches.ordered(), {}
    for index in range(len(ordered)):
        rows, inputs = ordered.indices(index), ordered[index][0]
        for name, value in stem.predict_on_batch(inputs).items():
            if name not in arrays:
                shape = (len(batches.points), *value.shape[1:])
                arrays[name] = make(name, shape, value.dtype)
            arrays[name][rows] = value
    logging.info(
        "Computed once for %d clouds, %.1f MB: %s",
        len(batches.points),
        sum(array.nbytes for array in arrays.values()) / 1e6,
        ", ".join(arrays),
    )
    return arrays


def _file(folder, name):
    return os.path.join(folder, f"{name}.npy")


def _digest(task, stem, batches):
    """Names what the arrays depend on."""
    digest = hashlib.sha256()
    config = task.get_config()
    # Keras numbers the names of models, so that they differ between runs.
    del config["name"], config["backbone"]["config"]["name"]
    for what in (
        config,
        data_digest(batches),
        (batches.num_points, batches.sampling, batches.normalize),
        (__version__, keras.backend.backend()),
    ):
        digest.update(json.dumps(what, sort_keys=True, default=str).encode())
    for variable in stem.variables:
        value = np.ascontiguousarray(ops.convert_to_numpy(variable))
        digest.update(value.tobytes())
    return digest.hexdigest()[:20]
