"""`ProgramDataset`: new procedural clouds in every batch, without an end."""

import numpy as np

from keras_pointpeft.data.augmentation import get as get_augmentation
from keras_pointpeft.data.dataset import EpochDataset
from keras_pointpeft.data.shapes.checks import checked_integer
from keras_pointpeft.data.shapes.programs import make_programs


class ProgramDataset(EpochDataset):
    """Batches of clouds that random programs of parts make, all of them new.

    Batch `i` of epoch `e` has the clouds from `(e * steps + i) * batch_size`
    of the seed on, whatever was served before and however many threads make
    batches while the device trains: a run that goes on sees what it would have
    seen. Clouds are made in blocks of 64, of which a multiple is the cheapest
    batch size. See `data.shapes.make_programs`.

    Args:
        steps: int. Batches of an epoch.
        batch_size: int. Clouds of a batch. Defaults to `64`.
        num_points: int. Points of a cloud. Defaults to `1024`.
        num_programs: optional int, a multiple of 64: labels are the programs.
            Defaults to `None`: every cloud has a program of its own, and there
            are no labels.
        views: float, the share of clouds that one side is seen of.
        augmentation: string or list of strings, or an augmentation.
        seed: int, not negative.
        workers: int. Threads that make batches ahead. Defaults to `2`.
        **kwargs: see `EpochDataset`.

    Raises:
        ValueError: an argument is out of its range.

    Example:
    ```python
    from keras_pointpeft.data import ProgramDataset

    clouds = ProgramDataset(steps=10, batch_size=64, num_points=256)
    (points,) = clouds[0]
    points.shape  # (64, 256, 3)
    ```
    """

    def __init__(
        self,
        steps,
        batch_size=64,
        num_points=1024,
        num_programs=None,
        views=0.0,
        augmentation="none",
        seed=0,
        workers=2,
        **kwargs,
    ):
        super().__init__(workers=workers, **kwargs)
        self.steps = checked_integer("steps", steps, 1)
        self.batch_size = checked_integer("batch_size", batch_size, 1)
        self.augmentation = get_augmentation(augmentation)
        self.arguments = {
            "num_points": num_points,
            "seed": seed,
            "num_programs": num_programs,
            "views": views,
        }
        # What cannot be made is refused here, not by a thread.
        make_programs(0, **self.arguments)

    @property
    def num_batches(self):
        return self.steps

    def make_batch(self, index):
        start = (self.epoch * self.steps + index) * self.batch_size
        made = make_programs(self.batch_size, start=start, **self.arguments)
        rng = np.random.default_rng((self.arguments["seed"], start))
        points = np.asarray(self.augmentation(made.points, rng), "float32")
        if self.arguments["num_programs"] is None:
            return (points,)
        return points, made.labels
