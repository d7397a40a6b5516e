import keras
from keras import ops

from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


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
