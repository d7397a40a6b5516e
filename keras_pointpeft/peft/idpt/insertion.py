"""Where IDPT inserts its prompts."""

import keras
from keras import ops

from keras_pointpeft.peft.idpt.instance_prompt import InstancePrompt
from keras_pointpeft.peft.parts import insert_behind
from keras_pointpeft.pieces import Piece
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable

# Which tokens the head reads, by the published names.
READS = {
    "all": ("first", "mean", "max"),
    "prompt_and_class": ("first", "mean", None),
    "patches_and_class": ("first", None, "max"),
    "prompt": (None, "mean", None),
}


@serializable
class PromptInsertion(Configurable, keras.layers.Layer):
    """Inserts an `InstancePrompt` and its position into the sequence.

    Args:
        before_block: int. Before which block of the backbone it is called.
        num_class_tokens: int. Behind how many tokens the prompt stands.
        module: string, see `InstancePrompt`.
        num_neighbors: int, likewise.
        num_heads: int, likewise.

    Input shape:
        tokens and positions, `(batch, tokens, dim)` each; a list without
        further patches.

    Output shape:
        two tensors `(batch, tokens + 1, dim)`.
    """

    renamed = {"neighbors": "num_neighbors"}

    def __init__(
        self,
        before_block,
        num_class_tokens,
        module="dgcnn",
        num_neighbors=20,
        num_heads=6,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.before_block = before_block
        self.num_class_tokens = num_class_tokens
        self.module = module
        self.num_neighbors = num_neighbors
        self.num_heads = num_heads
        self.prompt = InstancePrompt(
            module,
            num_neighbors,
            num_heads,
            dtype=self.dtype_policy,
            name="prompt",
        )

    def build(self, tokens_shape, positions_shape=None, more_shape=None):
        self.position = self.add_weight(
            shape=(1, 1, tokens_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="position",
        )
        self.prompt.build(tokens_shape, tokens_shape)

    def call(self, tokens, positions, more=(), training=False):
        first = self.num_class_tokens
        prompt = self.prompt(
            tokens[:, first:], positions[:, first:], training=training
        )
        tokens = insert_behind(tokens, prompt, first)
        return tokens, insert_behind(positions, self.position, first)

    def compute_output_shape(
        self, tokens_shape, positions_shape=None, more_shape=None
    ):
        batch, tokens, dim = tokens_shape
        return (batch, tokens + 1, dim), (batch, tokens + 1, dim)


@serializable
class PromptPosition(Piece, keras.layers.Layer):
    """The one position of all prompts.

    Input shape:
        prompts `(batch, prompts, dim)`.

    Output shape:
        likewise.
    """

    def build(self, prompts_shape):
        self.position = self.add_weight(
            shape=(1, 1, prompts_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="position",
        )

    def call(self, prompts):
        return ops.zeros_like(prompts) + self.position
