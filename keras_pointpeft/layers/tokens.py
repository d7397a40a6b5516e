"""Positions of tokens, the class token before them, and their parts."""

import math

import keras
import numpy as np
from keras import ops

from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.ops.arithmetic import gelu
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class PositionMLP(Configurable, keras.layers.Layer):
    """Embeds patch centres with two linear layers and an exact GELU.

    Args:
        dim: int. Width of the embedding.
        hidden_dim: int. Width of the inner layer.

    Input shape:
        `(batch, groups, 3)`.

    Output shape:
        `(batch, groups, dim)`.

    Example:
    ```python
    embed = keras_pointpeft.layers.PositionMLP(dim=96)
    positions = embed(np.random.rand(2, 32, 3))  # (2, 32, 96)
    ```
    """

    def __init__(self, dim, hidden_dim=128, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.hidden_dim = hidden_dim
        policy = self.dtype_policy
        self.fc1 = Linear(hidden_dim, dtype=policy, name="fc1")
        self.fc2 = Linear(dim, dtype=policy, name="fc2")

    def build(self, input_shape):
        self.fc1.build(input_shape)
        self.fc2.build((None, None, self.hidden_dim))

    def call(self, centers):
        hidden = gelu(self.fc1(centers))
        return self.fc2(hidden)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.dim)


@serializable
class CodedPositionMLP(PositionMLP):
    """Embeds a fixed code of patch centres with two linear layers.

    The code of [PCP-MAE](https://arxiv.org/abs/2408.08753): every axis has a
    third of the channels, first `sin(x / 10000^(j/m))` for `j` from 0 to
    `m - 1`, then their cosines, where `m` is a sixth of the channels. It is
    computed in float32.

    Args:
        dim: int, divisible by 6. Width of the code and of the embedding.

    Input shape:
        `(batch, groups, 3)`.

    Output shape:
        `(batch, groups, dim)`.

    Raises:
        ValueError: if `dim` is not divisible by 6.

    Example:
    ```python
    layer = keras_pointpeft.layers.CodedPositionMLP(24)
    layer(np.random.rand(2, 8, 3).astype("float32")).shape  # (2, 8, 24)
    ```
    """

    config_names = ("dim",)

    def __init__(self, dim, **kwargs):
        super().__init__(dim, dim, autocast=False, **kwargs)
        if dim % 6:
            raise ValueError(
                "Three axes with sines and cosines share the channels: `dim` "
                f"must be divisible by 6. Received: dim={dim}"
            )

    def build(self, input_shape):
        super().build((None, None, self.dim))

    def code(self, centers):
        """The fixed code, `(batch, groups, dim)` in float32."""
        waves = self.dim // 6
        rates = 10000.0 ** (-np.arange(waves, dtype="float32") / waves)
        rates = ops.convert_to_tensor(rates)
        angles = ops.cast(centers, "float32")[..., None] * rates
        parts = ops.concatenate((ops.sin(angles), ops.cos(angles)), axis=-1)
        return ops.reshape(parts, (-1, centers.shape[1], self.dim))

    def embed(self, code):
        """What the linear layers make of a code."""
        return super().call(ops.cast(code, self.compute_dtype))

    def call(self, centers):
        return self.embed(self.code(centers))


@serializable
class SinePosition(Configurable, keras.layers.Layer):
    """Embeds patch centres with sine and cosine, without parameters.

    Every axis has an even share of the channels, which alternate between
    `sin(2 pi x)` and `cos(2 pi x)`; zeros fill the rest. This is the
    published code of [PointGPT](https://arxiv.org/abs/2305.11487), whose
    temperature of 1 gives all channels the same frequency.

    Args:
        dim: int. Width of the embedding.

    Input shape:
        `(batch, groups, 3)`.

    Output shape:
        `(batch, groups, dim)`.

    Example:
    ```python
    embed = keras_pointpeft.layers.SinePosition(dim=96)
    positions = embed(np.random.rand(2, 32, 3))  # (2, 32, 96)
    ```
    """

    def __init__(self, dim, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.dim = dim

    def build(self, input_shape):
        self.built = True

    def call(self, centers):
        angle = ops.cast(centers, "float32") * (2.0 * math.pi)
        pair = ops.stack((ops.sin(angle), ops.cos(angle)), axis=-1)
        pairs = self.dim // 3 // 2
        waves = ops.tile(pair, (1, 1, 1, pairs))
        waves = ops.reshape(waves, (-1, centers.shape[1], 6 * pairs))
        rest = self.dim - 6 * pairs
        waves = ops.pad(waves, ((0, 0), (0, 0), (0, rest)))
        return ops.cast(waves, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.dim)


@serializable
class ClassTokens(Configurable, keras.layers.Layer):
    """Puts a learned class token, and its position, before the patches.

    Args:
        dim: int. Width of the tokens.
        index: int. How many tokens stay in front of the class token. Its
            position goes to the very front nevertheless, which is how
            PointGPT swaps those of its first two tokens.

    Input shape:
        two tensors `(batch, groups, dim)`: patch tokens and their positions.

    Output shape:
        two tensors `(batch, 1 + groups, dim)`.

    Example:
    ```python
    add = keras_pointpeft.layers.ClassTokens(dim=96)
    tokens, positions = np.random.rand(2, 4, 32, 96)
    tokens, positions = add(tokens, positions)  # (4, 33, 96) each
    ```
    """

    removed = {"num_tokens": 1}

    def __init__(self, dim, index=0, **kwargs):
        super().__init__(**kwargs)
        self.dim = dim
        self.index = index

    def build(self, tokens_shape, positions_shape=None):
        def weight(name):
            return self.add_weight(
                shape=(1, 1, self.dim),
                initializer=keras.initializers.RandomNormal(stddev=0.02),
                name=name,
            )

        self.token = weight("token")
        self.position = weight("position")

    def call(self, tokens, positions):
        def insert(weight, sequence, index=0):
            shape = (ops.shape(sequence)[0], 1, self.dim)
            weight = ops.cast(weight, sequence.dtype)
            parts = [ops.broadcast_to(weight, shape), sequence]
            if index:
                parts = [sequence[:, :index], parts[0], sequence[:, index:]]
            return ops.concatenate(parts, axis=1)

        tokens = insert(self.token, tokens, self.index)
        return tokens, insert(self.position, positions)

    def compute_output_shape(self, tokens_shape, positions_shape=None):
        batch, groups, dim = tokens_shape
        shape = (batch, 1 + groups, dim)
        return shape, shape


@serializable
class SplitTokens(Configurable, keras.layers.Layer):
    """Names the parts of a token sequence `[class | prompts | patches]`.

    Args:
        num_class_tokens: int. Tokens at the front.
        num_patches: int. Tokens at the end. What lies between are prompts.
        num_left_out: int. How many of the tokens at the front are not class
            tokens after all, and are left out.

    Input shape:
        `(batch, tokens, dim)`.

    Output shape:
        dict of `"class_tokens"`, `"prompt_tokens"` and `"patch_tokens"`, each
        `(batch, tokens, dim)`; a part without tokens is left out.

    Example:
    ```python
    split = keras_pointpeft.layers.SplitTokens(1, num_patches=32)
    parts = split(np.random.rand(4, 43, 96))
    prompts = parts["prompt_tokens"]  # (4, 10, 96)
    ```
    """

    def __init__(self, num_class_tokens, num_patches, num_left_out=0, **kwargs):
        super().__init__(**kwargs)
        self.num_left_out = num_left_out
        self.num_class_tokens = num_class_tokens
        self.num_patches = num_patches

    def build(self, input_shape):
        self.built = True

    def _bounds(self, total):
        first, last = self.num_class_tokens, total - self.num_patches
        parts = {
            "class_tokens": (self.num_left_out, first),
            "prompt_tokens": (first, last),
            "patch_tokens": (last, total),
        }
        return {name: (a, b) for name, (a, b) in parts.items() if b > a}

    def call(self, tokens):
        bounds = self._bounds(tokens.shape[1])
        return {name: tokens[:, a:b] for name, (a, b) in bounds.items()}

    def compute_output_shape(self, input_shape):
        batch, total, dim = input_shape
        bounds = self._bounds(total)
        return {name: (batch, b - a, dim) for name, (a, b) in bounds.items()}
