"""MoST's fusion of what several blocks have found."""

import keras
from keras import ops

from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.layers.basic import part_call
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


def fused_blocks(blocks, count):
    """Which blocks are fused: the last, and others as far apart as can be.

    Args:
        blocks: range, the blocks of a stage.
        count: int. How many are wanted; a short stage may have fewer.

    Returns:
        tuple of ints, ascending.
    """
    step = -(max(len(blocks) // count, 1))
    return tuple(sorted(range(blocks[-1], blocks[0] - 1, step)[:count]))


@serializable
class BlockFusion(Configurable, keras.layers.Layer):
    """Adds what several blocks have found of a cloud to its patch tokens.

    The maximum over a block's patch tokens plus their mean; of the deepest
    block, twice that of the one before, and so on; normalized.

    Args:
        reads_blocks: tuple of ints, ascending. Which blocks are read.

    Input shape:
        the final patch tokens `(batch, groups, dim)`, and a list of those
        after each of the blocks.

    Output shape:
        `(batch, groups, dim)`.
    """

    def __init__(self, reads_blocks, **kwargs):
        super().__init__(**kwargs)
        self.reads_blocks = tuple(reads_blocks)
        self.norm = LayerNormalization(dtype=self.dtype_policy, name="norm")

    def build(self, tokens_shape, found_shape=None):
        self.norm.build((None, 1, tokens_shape[-1]))

    def call(self, tokens, found):
        total = 0.0
        for i, x in enumerate(found):
            most = ops.max(x, axis=1, keepdims=True)
            total = total + 2.0**i * (most + ops.mean(x, 1, keepdims=True))
        return tokens + part_call(self.norm, total)

    def compute_output_shape(self, tokens_shape, found_shape=None):
        return tokens_shape
