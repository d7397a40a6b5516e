import keras
import numpy as np
import pytest
from keras import ops

from keras_pointpeft.ops import random

MASK = 2**64 - 1


def mixed(x):
    """The finalizer of SplitMix64, in Python's integers."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


@pytest.mark.skipif(keras.config.backend() != "torch", reason="of torch")
@pytest.mark.parametrize("seed", (0, 1, 2**31 - 1))
def test_numbers_of_split_mix(seed):
    generator = keras.random.SeedGenerator(seed)
    for count in range(3):
        found = ops.convert_to_numpy(random.uniform((2, 5), generator))
        start = mixed((mixed(seed) + count) & MASK)
        expected = [
            (mixed((start + (i + 1) * 0x9E3779B97F4A7C15) & MASK) >> 40) / 2**24
            for i in range(10)
        ]
        np.testing.assert_array_equal(found.ravel(), np.float32(expected))


def test_uniform():
    generator = keras.random.SeedGenerator(3)
    found = ops.convert_to_numpy(random.uniform((4, 5000), generator))
    assert found.min() >= 0 and found.max() < 1
    counts = np.histogram(found, 20, (0, 1))[0]
    assert abs(counts - 1000).max() < 150  # nearly five deviations
    assert abs(np.corrcoef(found)[0, 1:]).max() < 0.06
    again = random.uniform((4, 5000), keras.random.SeedGenerator(3))
    np.testing.assert_array_equal(ops.convert_to_numpy(again), found)
    later = ops.convert_to_numpy(random.uniform((4, 5000), generator))
    assert abs(np.corrcoef(later.ravel(), found.ravel())[0, 1]) < 0.03


def test_randint_reaches_all_and_no_more():
    generator = keras.random.SeedGenerator(0)
    found = ops.convert_to_numpy(random.randint((500,), 7, generator))
    assert found.dtype == np.int32 and set(found) == set(range(7))
