import keras
from keras import ops

from keras_pointpeft.layers import Linear
from keras_pointpeft.layers import PositionMLP
from keras_pointpeft.layers import TransformerBlock
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.models.backbone import drop_path_rates
from keras_pointpeft.models.pretraining.pretrainer import MaskedPretrainer
from keras_pointpeft.models.pretraining.pretrainer import redraw
from keras_pointpeft.ops import gather
from keras_pointpeft.ops import random
from keras_pointpeft.ops import squared_distances
from keras_pointpeft.serialization import serializable

MASK_TYPES = ("random", "block")


@serializable
class MaskedAutoencoder(MaskedPretrainer):
    """Pre-trains a backbone by rebuilding masked patches, without labels.

    [Masked Autoencoders for Point Cloud Self-supervised
    Learning](https://arxiv.org/abs/2203.06604). Most patches are hidden; the
    backbone sees the others alone, without class token; a light decoder gets
    its tokens and the positions of the hidden patches, and rebuilds their
    points. The loss is the chamfer distance, patch by patch.

    The backbone's own layers are trained in place: afterwards it is ready for
    `save_to_preset` or a task. Its class tokens take no part in this model;
    they are neither among its variables nor changed.

    Args:
        backbone: a `keras_pointpeft.models.PointMAEBackbone` without `peft`.
        decoder_depth: int. Number of decoder blocks.
        decoder_num_heads: int. Attention heads of a decoder block.
        mask_ratio: float in `(0, 1)`. Share of the patches to hide, rounded
            down to whole patches.
        mask_type: `"random"`, or `"block"` for the patches nearest to a random
            one.
        decoder_drop_path_rate: float. Stochastic depth of the last decoder
            block; earlier blocks have proportionally less.
        loss: `"chamfer_l2"` (squared distances) or `"chamfer_l1"`.
        seed: optional int. Seed of the masks.
        dtype: optional dtype or `keras.DTypePolicy` of the decoder. The
            backbone's by default. Geometry and loss stay float32.

    Input shape:
        `(batch, points, 3)`, and optionally `hidden`, a boolean mask
        `(batch, num_groups)`, true where a patch is hidden, with `num_masked`
        true values in every row. By default it is drawn.

    Output shape:
        dict of `"reconstruction"` and `"target"`
        `(batch, num_masked, group_size, 3)`, relative to the patch centres,
        `"masked_centers"` `(batch, num_masked, 3)`, and likewise
        `"visible_patches"`, `"visible_centers"` and `"visible_tokens"`
        `(batch, num_visible, dim)`.

    Raises:
        ValueError: if the backbone has a fine-tuning method, `mask_ratio` hides
            no patch or all, or `mask_type` or `loss` is unknown.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=32, group_size=16, dim=96, depth=3
    )
    model = keras_pointpeft.models.MaskedAutoencoder(backbone, decoder_depth=2)
    model.compile("adamw")
    model.fit(np.random.rand(64, 512, 3), epochs=1)
    backbone.save_to_preset("my_backbone")
    ```
    """

    config_names = (
        "decoder_depth",
        "decoder_num_heads",
        "mask_ratio",
        "mask_type",
        "decoder_drop_path_rate",
        "seed",
    )

    def __init__(
        self,
        backbone,
        decoder_depth=4,
        decoder_num_heads=6,
        mask_ratio=0.6,
        mask_type="random",
        decoder_drop_path_rate=0.0,
        loss="chamfer_l2",
        seed=None,
        dtype=None,
        **kwargs,
    ):
        super().__init__(
            backbone,
            backbone.num_groups,
            mask_ratio,
            loss,
            seed=seed,
            dtype=dtype,
            **kwargs,
        )
        if mask_type not in MASK_TYPES:
            raise ValueError(
                f"`mask_type` must be one of {MASK_TYPES}. "
                f"Received: mask_type={mask_type!r}"
            )
        self.decoder_depth = decoder_depth
        self.decoder_num_heads = decoder_num_heads
        self.mask_type = mask_type
        self.decoder_drop_path_rate = decoder_drop_path_rate
        dim, policy = backbone.dim, self.dtype_policy

        # All but its class tokens.
        self.patches = backbone.get_layer("patches")
        self.patch_encoder = backbone.get_layer("patch_encoder")
        self.position = backbone.get_layer("position")
        self.blocks = [
            backbone.get_layer(f"block_{i}") for i in range(backbone.depth)
        ]
        self.norm = backbone.get_layer("norm")

        self.add_position_layers()
        rates = drop_path_rates(decoder_drop_path_rate, decoder_depth)
        self.decoder_blocks = [
            TransformerBlock(
                dim,
                decoder_num_heads,
                drop_path_rate=rate,
                dtype=policy,
                name=f"decoder_block_{i}",
            )
            for i, rate in enumerate(rates)
        ]
        self.decoder_norm = LayerNormalization(
            dtype=policy, name="decoder_norm"
        )
        self.increase_dim = Linear(
            3 * backbone.group_size, dtype=policy, name="increase_dim"
        )
        self.build((None, None, 3))
        redraw(self.decoder_blocks, keras.initializers.GlorotUniform, seed)

    def build(self, points_shape):
        if self.built:
            return
        dim = self.backbone.dim
        self.mask_token = self.add_weight(
            shape=(1, 1, dim),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="mask_token",
        )
        self.build_position_layers()
        for block in self.decoder_blocks:
            block.build((None, None, dim))
        self.decoder_norm.build((None, None, dim))
        self.increase_dim.build((None, None, dim))
        self.built = True

    def add_position_layers(self):
        """Makes what positions need besides the backbone."""
        self.decoder_position = PositionMLP(
            self.backbone.dim, dtype=self.dtype_policy, name="decoder_position"
        )

    def build_position_layers(self):
        self.decoder_position.build((None, None, 3))

    def call(self, points, hidden=None, training=False):
        groups, size = self.backbone.num_groups, self.backbone.group_size
        patches = self.patches(points)
        centers = patches["centers"]
        if hidden is None:
            hidden = self.draw_mask(centers)
        # Visible patches first, then hidden ones, each in their old order.
        # With distinct keys every sorting algorithm gives the same.
        keys = ops.cast(hidden, "int32") * groups + ops.arange(groups)
        order = ops.cast(ops.argsort(keys, axis=1), "int32")
        seen = self.num_visible

        # All patches are encoded: batch statistics include the hidden ones.
        tokens = self.patch_encoder(patches["neighborhoods"], training=training)
        centers = gather(centers, order)
        encoded, positions, more = self.encode(tokens, order, centers, training)
        x = self.with_blanks(encoded)
        for block in self.decoder_blocks:
            x = block(x + positions, training=training)
        x = self.increase_dim(self.decoder_norm(x[:, seen:]))
        rebuilt = ops.reshape(x, (-1, self.num_masked, size, 3))

        flat = ops.reshape(patches["neighborhoods"], (-1, groups, size * 3))
        patches = ops.reshape(gather(flat, order), (-1, groups, size, 3))
        return {
            "reconstruction": ops.cast(rebuilt, "float32"),
            "target": patches[:, seen:],
            "masked_centers": centers[:, seen:],
            "visible_patches": patches[:, :seen],
            "visible_centers": centers[:, :seen],
            "visible_tokens": encoded,
            **more,
        }

    def encode(self, tokens, order, centers, training):
        """What the backbone makes of the patches.

        Args:
            tokens: `(batch, num_groups, dim)`, of all patches.
            order: int `(batch, num_groups)`, the visible ones first.
            centers: `(batch, num_groups, 3)`, in that order.
            training: bool.

        Returns:
            The visible tokens `(batch, num_visible, dim)`, positions for the
            decoder `(batch, num_groups, dim)`, and a dict of further outputs.
        """
        seen = self.num_visible
        x = gather(tokens, order[:, :seen])
        positions = self.position(centers[:, :seen])
        for block in self.blocks:
            x = block(x + positions, training=training)
        return self.norm(x), self.decoder_position(centers), {}

    def drawn_layers(self):
        return (self.patch_encoder, self.position, *self.blocks)

    def draw_mask(self, centers):
        if self.mask_type == "random":
            return super().draw_mask(centers)
        batch, groups = ops.shape(centers)[0], centers.shape[1]
        seed = random.randint((batch, 1), groups, self.seed_generator)
        seed = gather(centers, seed)
        return self.hide_lowest(squared_distances(seed, centers)[:, 0])

    def compute_loss(
        self,
        x=None,
        y=None,
        y_pred=None,
        sample_weight=None,
        training=True,
    ):
        """The chamfer distance between rebuilt and true patches."""
        return self.distance(y_pred["reconstruction"], y_pred["target"])

    def reconstruct(self, points, hidden=None):
        """Rebuilds whole clouds from their visible patches, to look at.

        Args:
            points: `(batch, points, 3)`.
            hidden: optional `(batch, num_groups)`, see the class.

        Returns:
            dict of `"points"` `(batch, num_groups * group_size, 3)`: the
            rebuilt patches, then the visible ones; `"visible"`: the visible
            ones alone; `"centers"` `(batch, num_groups, 3)`, in the order of
            `"points"`.

        Example:
        ```python
        cloud = model.reconstruct(points)["points"][0]
        ```
        """
        parts = self(points, hidden, training=False)

        def cloud(patches, centers):
            patches = patches + centers[:, :, None]
            return ops.reshape(
                patches, (-1, patches.shape[1] * patches.shape[2], 3)
            )

        masked, visible = parts["masked_centers"], parts["visible_centers"]
        rebuilt = cloud(parts["reconstruction"], masked)
        seen = cloud(parts["visible_patches"], visible)
        return {
            "points": ops.concatenate((rebuilt, seen), axis=1),
            "visible": seen,
            "centers": ops.concatenate((masked, visible), axis=1),
        }
