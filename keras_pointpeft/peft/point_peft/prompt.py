"""Point-PEFT's point-prior prompt."""

import keras
from keras import ops

from keras_pointpeft.layers.dropout import Dropout
from keras_pointpeft.peft.parts.bottleneck import BottleneckAdapter
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class PointPriorPrompt(Configurable, keras.layers.Layer):
    """The prompts of one block: learned ones, plus the adapted prior.

    Section 3.2 of [Point-PEFT](https://arxiv.org/abs/2310.03059).

    Args:
        num_prompts: int. Number of prompts.
        rank: int or None. Width of the prior's adapter; None for a block
            that does not read the prior.
        dropout: float. Dropout rate of the learned prompts.
        start: how the adapter starts; see `BottleneckAdapter`.

    Input shape:
        tokens `(batch, tokens, dim)`, for their number of samples; prior
        `(batch, num_prompts, dim)` or None.

    Output shape:
        `(batch, num_prompts, dim)`.

    Example:
    ```python
    prompts = keras_pointpeft.peft.PointPriorPrompt(num_prompts=10)
    tokens, prior = np.random.rand(2, 33, 96), np.random.rand(2, 10, 96)
    prompts(tokens, prior)  # (2, 10, 96)
    ```
    """

    def __init__(
        self, num_prompts=10, rank=8, dropout=0.1, start="zero", **kwargs
    ):
        super().__init__(**kwargs)
        self.num_prompts = num_prompts
        self.rank = rank
        self.dropout = dropout
        self.start = start
        policy = self.dtype_policy
        self.adapter = None
        if rank is not None:
            self.adapter = BottleneckAdapter(
                rank,
                residual=True,
                start=start,
                dtype=policy,
                name="adapter",
            )
        self.drop = Dropout(dropout, dtype=policy, name="drop")

    def build(self, tokens_shape, prior_shape=None):
        dim = tokens_shape[-1]
        self.embeddings = self.add_weight(
            shape=(self.num_prompts, dim),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="embeddings",
        )
        if self.adapter is not None:
            self.adapter.build((None, self.num_prompts, dim))

    def call(self, tokens, prior=None, training=False):
        shape = (ops.shape(tokens)[0], self.num_prompts, tokens.shape[-1])
        prompts = ops.cast(self.embeddings, tokens.dtype)
        prompts = ops.broadcast_to(prompts, shape)
        prompts = self.drop(prompts, training=training)
        if prior is not None:
            prior = ops.cast(prior, tokens.dtype)
            prompts = prompts + self.adapter(prior, training=training)
        return prompts

    def compute_output_shape(self, tokens_shape, prior_shape=None):
        return (tokens_shape[0], self.num_prompts, tokens_shape[-1])
