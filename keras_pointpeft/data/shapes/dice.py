"""Random choices of a shape's parameters."""


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
