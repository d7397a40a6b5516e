"""Weights in float16 are the weights, rounded."""

import numpy as np
import pytest
from keras import ops

from keras_pointpeft import checkpoints
from tests.small import small_backbone


def test_half_weights_are_the_weights_rounded(tmp_path):
    backbone, other = small_backbone(), small_backbone()
    path = tmp_path / "half.weights.h5"
    checkpoints.write_half(backbone, path)
    other.load_weights(path)
    for weight, loaded in zip(backbone.weights, other.weights, strict=True):
        if "seed_generator" not in weight.path:
            np.testing.assert_array_equal(
                ops.convert_to_numpy(weight).astype("float16"),
                ops.convert_to_numpy(loaded),
            )
    backbone.weights[0].assign(ops.full(backbone.weights[0].shape, 1e6))
    before = path.read_bytes()
    with pytest.raises(ValueError, match="too large for float16.*1e\\+06"):
        checkpoints.write_half(backbone, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
