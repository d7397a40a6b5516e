import keras
from keras import ops

from keras_pointpeft.layers import Linear
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.models.pretraining.masked_autoencoder import (
    MaskedAutoencoder,
)
from keras_pointpeft.ops import gather
from keras_pointpeft.ops.arithmetic import split_at
from keras_pointpeft.serialization import serializable


@serializable
class CenterPredictingAutoencoder(MaskedAutoencoder):
    """Pre-trains a backbone by predicting where hidden patches are, too.

    [PCP-MAE: Learning to Predict Centers for Point Masked
    Autoencoders](https://arxiv.org/abs/2408.08753). As in
    `MaskedAutoencoder`, patches are rebuilt from the visible ones. But the
    decoder is not told where the hidden patches are: the backbone reads them
    in a second stream, with one learned position for all of them, and
    predicts the code of their centres, which the decoder gets in their place.
    Visible tokens do not see the hidden ones. The loss is the chamfer distance
    plus `center_weight` times the mean squared error of the codes.

    Both streams pass the blocks as one sequence; in training, stochastic
    depth drops them together, where the published code draws for each.

    Args:
        backbone: a `keras_pointpeft.models.PCPMAEBackbone` without `peft`.
        center_weight: float. Weight of the predicted centres in the loss.
        **kwargs: see `MaskedAutoencoder`.

    Input shape:
        As `MaskedAutoencoder`.

    Output shape:
        That of `MaskedAutoencoder`, and `"masked_tokens"`,
        `"predicted_codes"` and `"center_codes"`
        `(batch, num_masked, dim)`.

    Raises:
        ValueError: if the backbone's positions are not made of a code.

    Example:
    ```python
    backbone = keras_pointpeft.models.PCPMAEBackbone(
        num_groups=32, group_size=16, dim=96, depth=3
    )
    model = keras_pointpeft.models.CenterPredictingAutoencoder(
        backbone, decoder_depth=2
    )
    model.compile("adamw")
    model.fit(np.random.rand(64, 512, 3), epochs=1)
    ```
    """

    config_names = (*MaskedAutoencoder.config_names, "center_weight")

    def __init__(self, backbone, center_weight=0.1, **kwargs):
        if not hasattr(backbone.get_layer("position"), "code"):
            raise ValueError(
                "Centres are predicted as the code that a PCPMAEBackbone "
                f"embeds. Received: a {type(backbone).__name__}"
            )
        self.center_weight = center_weight
        super().__init__(backbone, **kwargs)

    def add_position_layers(self):
        # The decoder's positions go through the backbone's own layers.
        dim, policy = self.backbone.dim, self.dtype_policy
        self.predictor_fc1 = Linear(dim, dtype=policy, name="predictor_fc1")
        self.predictor_norm = LayerNormalization(
            dtype=policy, name="predictor_norm"
        )
        self.predictor_fc2 = Linear(dim, dtype=policy, name="predictor_fc2")

    def build_position_layers(self):
        dim = self.backbone.dim
        self.mask_position = self.add_weight(
            shape=(1, 1, dim),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="mask_position",
        )
        for name in ("fc1", "norm", "fc2"):
            getattr(self, f"predictor_{name}").build((None, None, dim))

    def encode(self, tokens, order, centers, training):
        seen, total = self.num_visible, self.backbone.num_groups
        x = gather(tokens, order)
        known = self.position(centers[:, :seen])
        nowhere = ops.broadcast_to(
            ops.cast(self.mask_position, known.dtype),
            (ops.shape(known)[0], self.num_masked, known.shape[-1]),
        )
        positions = ops.concatenate((known, nowhere), axis=1)
        place = ops.arange(total)
        sees = ops.logical_or(place[:, None] >= seen, place[None] < seen)
        for block in self.blocks:
            x = block(x + positions, None, sees[None], training=training)
        encoded = self.norm(x)
        visible, masked = split_at(encoded, seen)
        codes = self.predict_codes(masked)
        guessed = self.position.embed(ops.stop_gradient(codes))
        return visible, ops.concatenate((known, guessed), axis=1), {
            "masked_tokens": masked,
            "predicted_codes": ops.cast(codes, "float32"),
            "center_codes": self.position.code(centers[:, seen:]),
        }

    def predict_codes(self, tokens):
        """The codes of the centres `(batch, patches, dim)`, from tokens."""
        hidden = self.predictor_norm(self.predictor_fc1(tokens))
        return self.predictor_fc2(ops.relu(hidden))

    def compute_loss(self, x=None, y=None, y_pred=None, **kwargs):
        """The chamfer distance, and how far off the centres' codes are."""
        rebuilt = super().compute_loss(y_pred=y_pred)
        return rebuilt + self.center_weight * self.center_loss(y_pred)

    def center_loss(self, parts):
        """Mean squared error of the predicted codes."""
        error = parts["predicted_codes"] - parts["center_codes"]
        return ops.mean(ops.square(error))
