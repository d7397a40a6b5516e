import keras
from keras import ops

from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops import interpolate
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class TokenPropagation(Configurable, keras.layers.Layer):
    """Carries tokens of few centres to many, beside what is known there.

    The upsampling of [Point-M2AE](https://arxiv.org/abs/2205.14401)'s
    decoder: interpolation from the three nearest centres, a linear layer over
    both, and residual layers.

    Args:
        dim: int. Width of the output.
        depth: int. Number of residual layers.

    Input shape:
        centres `(batch, many, 3)`; centres `(batch, few, 3)`; tokens
        `(batch, many, known)`, all zeros where nothing is known; tokens
        `(batch, few, width)`.

    Output shape:
        `(batch, many, dim)`.

    Example:
    ```python
    many, few = np.random.rand(2, 64, 3), np.random.rand(2, 16, 3)
    carry = keras_pointpeft.layers.TokenPropagation(dim=48)
    tokens = carry(
        many, few, np.random.rand(2, 64, 48), np.random.rand(2, 16, 96)
    )  # (2, 64, 48)
    ```
    """

    def __init__(self, dim, depth=1, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.depth = depth
        self.fuse = self._linear("fuse")
        self.fuse_norm = self._norm("fuse_norm")
        # Each residual layer has two of them.
        self.convs = [self._linear(f"conv{i}") for i in range(2 * depth)]
        self.norms = [self._norm(f"norm{i}") for i in range(2 * depth)]

    def _linear(self, name):
        return Linear(self.dim, dtype=self.dtype_policy, name=name)

    def _norm(self, name):
        return BatchNorm(dtype=self.dtype_policy, name=name)

    def build(self, queries_shape, points_shape, known_shape, tokens_shape):
        shape = (None, None, self.dim)
        self.fuse.build((None, None, known_shape[-1] + tokens_shape[-1]))
        self.fuse_norm.build(shape)
        for layer in (*self.convs, *self.norms):
            layer.build(shape)

    def call(self, queries, points, known, tokens, training=False):
        carried = interpolate(queries, points, tokens)
        carried = ops.cast(carried, known.dtype)
        x = self.fuse(ops.concatenate((known, carried), axis=-1))
        x = gelu(self.fuse_norm(x, training=training))
        for i in range(0, 2 * self.depth, 2):
            y = self.norms[i](self.convs[i](x), training=training)
            y = self.convs[i + 1](gelu(y))
            x = gelu(self.norms[i + 1](y, training=training) + x)
        return x

    def compute_output_shape(self, queries_shape, *others):
        return (*queries_shape[:-1], self.dim)
