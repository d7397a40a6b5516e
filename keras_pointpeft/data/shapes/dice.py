"""Random choices of a shape's parameters."""

import numpy as np


def stream(seed, index, use):
    """The generator of one use of one cloud; all are independent.

    Args:
        seed: of the set, not negative.
        index: of the cloud in the set.
        use: a number for what is drawn from it.
    """
    key = np.random.SeedSequence(seed, spawn_key=(index, use))
    return np.random.default_rng(key)


class Dice:
    """Short names over a `numpy.random.Generator`.

    Args:
        rng: the generator that every choice is drawn from.
    """

    def __init__(self, rng):
        self.rng = rng

    def between(self, low, high):
        """A number, uniform in [low, high)."""
        return low + (high - low) * self.rng.random()

    def chance(self, probability):
        """True with this probability."""
        return self.rng.random() < probability

    def pick(self, *options):
        """One of the options, all equally likely."""
        return options[int(self.rng.random() * len(options))]

    def count(self, low, high):
        """An integer, low and high included."""
        return low + int(self.rng.random() * (high - low + 1))
