import keras
from keras import ops

from keras_pointpeft.layers.basic import Linear
from keras_pointpeft.layers.patches import PatchEncoder
from keras_pointpeft.layers.patches import check_encoder_dims
from keras_pointpeft.peft.method import ADDED
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.serialization import Configurable
from keras_pointpeft.serialization import serializable


@serializable
class SideNetwork(Configurable, keras.layers.Layer):
    """A small patch encoder of its own, blended with the backbone's tokens.

    `a * tokens + (1 - a) * side` with `a = sigmoid(alpha)`, which starts at a
    half.

    Args:
        encoder_dims: tuple of ints. Inner widths of the patch encoder.

    Input shape:
        `(batch, groups, dim)`, the backbone's final patch tokens, and
        `(batch, groups, points, 3)`, the patches.

    Output shape:
        `(batch, groups, dim)`.
    """

    def __init__(self, encoder_dims=(128, 256, 512), **kwargs):
        super().__init__(**kwargs)
        self.encoder_dims = tuple(encoder_dims)

    def build(self, tokens_shape, neighborhoods_shape):
        dim = tokens_shape[-1]
        policy = self.dtype_policy
        self.encoder = PatchEncoder(
            dim, self.encoder_dims, dtype=policy, name="encoder"
        )
        self.projection = Linear(
            dim, use_bias=False, dtype=policy, name="projection"
        )
        self.alpha = self.add_weight(
            shape=(1,), initializer="zeros", name="alpha"
        )
        self.encoder.build(neighborhoods_shape)
        self.projection.build(tokens_shape)

    def call(self, tokens, neighborhoods, training=False):
        side = self.encoder(neighborhoods, training=training)
        share = ops.sigmoid(self.alpha)
        return share * tokens + (1.0 - share) * self.projection(side)

    def compute_output_shape(self, tokens_shape, neighborhoods_shape):
        return tokens_shape


@serializable
class SideTuning(PeftMethod):
    """A side network beside the whole frozen backbone.

    [Side-Tuning](https://arxiv.org/abs/1912.13503), as
    [ACT](https://arxiv.org/abs/2212.08320) applies it to point clouds: a
    second patch encoder, trained from scratch, is blended into the final
    patch tokens. The class token trains too.

    Args:
        encoder_dims: tuple of ints. Inner widths of the side network's patch
            encoder.
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Example:
    ```python
    backbone = keras_pointpeft.models.ACTBackbone(
        peft=keras_pointpeft.peft.SideTuning()
    )
    ```
    """

    trained = (ADDED, r"(^|/)class_tokens/")
    components = {
        "side network": r"(^|/)tuner_side/",
        "class token": r"(^|/)class_tokens/",
    }

    def __init__(self, encoder_dims=(128, 256, 512), frozen_bn="inference"):
        self.encoder_dims = check_encoder_dims("encoder_dims", encoder_dims)
        super().__init__(frozen_bn)

    def side_tuner(self, where):
        return SideNetwork(self.encoder_dims, **where.layer)
