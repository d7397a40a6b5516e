"""DAPT's internal prompts: made of what the adapter gives."""

import keras
from keras import ops

from keras_pointpeft.layers.recompute import part_call
from keras_pointpeft.peft.parts.feature_transform import FeatureTransform
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class InternalPrompt(Configurable, keras.layers.Layer):
    """Inserts a prompt made from the adapter's output into the sequence.

    The prompt is a feature transform of the mean over all tokens of
    `gelu(adapter output)` (section 3.3 of the paper). It goes right behind
    the class tokens and stays for all later blocks.

    Args:
        num_class_tokens: int. How many tokens stay in front of it.

    Input shape:
        two tensors `(batch, tokens, dim)`: tokens and the adapter's output.

    Output shape:
        `(batch, tokens + 1, dim)`.

    Example:
    ```python
    insert = keras_pointpeft.peft.InternalPrompt(num_class_tokens=1)
    adapter = keras_pointpeft.peft.DynamicAdapter(rank=8)
    tokens = np.random.rand(2, 33, 96)
    tokens = insert(tokens, adapter(tokens))  # (2, 34, 96)
    ```
    """

    def __init__(self, num_class_tokens=1, **kwargs):
        super().__init__(**kwargs)
        self.num_class_tokens = num_class_tokens
        self.transform = FeatureTransform(
            dtype=self.dtype_policy, name="transform"
        )

    def build(self, tokens_shape, adapted_shape=None):
        self.transform.build((None, None, tokens_shape[-1]))

    def call(self, tokens, adapted):
        prompt = ops.gelu(adapted, approximate=False)
        prompt = ops.mean(prompt, axis=1, keepdims=True)
        prompt = part_call(self.transform, prompt)
        first = self.num_class_tokens
        return ops.concatenate(
            (tokens[:, :first], prompt, tokens[:, first:]), axis=1
        )

    def compute_output_shape(self, tokens_shape, adapted_shape=None):
        batch, tokens, dim = tokens_shape
        return (batch, tokens + 1, dim)
