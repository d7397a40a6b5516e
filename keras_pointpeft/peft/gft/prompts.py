"""The prompts of GFT, which are there from the first block to the head."""

import keras

from keras_pointpeft.peft.parts import insert_behind
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class InputPrompts(Configurable, keras.layers.Layer):
    """Puts learned prompts, which have no position, among the tokens.

    Args:
        num_prompts: int.
        before_block: int. Before which block they are put in.
        num_class_tokens: int. Behind how many tokens they stand.

    Input shape:
        tokens `(batch, tokens, dim)` and their positions; a list without
        further patches.

    Output shape:
        `(batch, tokens + num_prompts, dim)`, and the positions as they were.
    """

    def __init__(self, num_prompts, before_block, num_class_tokens, **kwargs):
        super().__init__(**kwargs)
        self.num_prompts = num_prompts
        self.before_block = before_block
        self.num_class_tokens = num_class_tokens

    def build(self, tokens_shape, positions_shape=None, more_shape=None):
        self.prompts = self.add_weight(
            shape=(1, self.num_prompts, tokens_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="prompts",
        )

    def call(self, tokens, positions, more=()):
        first = self.num_class_tokens
        return insert_behind(tokens, self.prompts, first), positions

    def compute_output_shape(
        self, tokens_shape, positions_shape=None, more_shape=None
    ):
        batch, tokens, dim = tokens_shape
        return (batch, tokens + self.num_prompts, dim), positions_shape
