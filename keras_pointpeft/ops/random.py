"""Random numbers of a seed, which a captured training step can draw too."""

import keras
from keras import ops

from keras_pointpeft.ops import accelerators


def uniform(shape, seed):
    """Numbers of [0, 1).

    Args:
        shape: tuple of ints.
        seed: `keras.random.SeedGenerator`, which moves on.

    Returns:
        float32 tensor.
    """
    fast = accelerators.find("uniform")
    if fast is None:
        return keras.random.uniform(shape, dtype="float32", seed=seed)
    return fast(shape, seed)


def randint(shape, limit, seed):
    """Integers of `0 ... limit - 1`.

    Args:
        shape: tuple of ints.
        limit: int, at most 2**24.
        seed: `keras.random.SeedGenerator`, which moves on.

    Returns:
        int32 tensor.
    """
    return ops.cast(ops.floor(uniform(shape, seed) * limit), "int32")
