import keras
from keras import ops

from keras_pointpeft.layers import Linear
from keras_pointpeft.layers import PositionMLP
from keras_pointpeft.layers import TokenPropagation
from keras_pointpeft.layers import TransformerBlock
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.models.backbone import drop_path_rates
from keras_pointpeft.models.pretraining.pretrainer import MaskedPretrainer
from keras_pointpeft.models.pretraining.pretrainer import redraw
from keras_pointpeft.models.pretraining.visible_tokens import Packing
from keras_pointpeft.models.pretraining.visible_tokens import visible_below
from keras_pointpeft.ops import gather
from keras_pointpeft.serialization import serializable


@serializable
class HierarchicalMaskedAutoencoder(MaskedPretrainer):
    """Pre-trains a hierarchical backbone by rebuilding masked patches.

    [Point-M2AE](https://arxiv.org/abs/2205.14401). Most patches of the last
    stage are hidden, and with them the tokens of the stages below that no
    visible patch is made of. The backbone sees the others alone; a decoder
    gets the last stage's tokens and the positions of all its patches, carries
    them down to the stage below, and rebuilds the points of the tokens that
    are hidden there. The loss is the chamfer distance, patch by patch.

    The backbone's own layers are trained in place: afterwards it is ready for
    `save_to_preset` or a task.

    Args:
        backbone: a `keras_pointpeft.models.PointM2AEBackbone` without `peft`.
        decoder_depth: int. Number of blocks of either stage of the decoder.
        decoder_num_heads: int. Attention heads of a decoder block.
        propagation_depth: int. Residual layers between the stages of the
            decoder.
        mask_ratio: float in `(0, 1)`. Share of the last stage's patches to
            hide, rounded down to whole patches.
        points_per_patch: optional int. How many points are rebuilt for a
            hidden token. The first stage's patch size by default, as
            published, though the target is a patch of the second stage.
        decoder_drop_path_rate: float. Stochastic depth of the last decoder
            block; earlier blocks have proportionally less.
        loss: `"chamfer_l2"` (squared distances) or `"chamfer_l1"`.
        reference: bool. By default a sample is encoded as if alone, and a
            visible token attends to visible ones within its stage's radius.
            True does as the published code: visible tokens attend to all
            visible ones of their stage; those near the origin also attend to
            the blanks that fill a sample up to the batch's longest; and the
            first token of the batch's first sample is always visible below
            the last stage. Features then depend on the batch.
        seed: optional int. Seed of the masks.
        dtype: optional dtype or `keras.DTypePolicy` of the decoder. The
            backbone's by default. Geometry and loss stay float32.

    Input shape:
        `(batch, points, 3)`, and optionally `hidden`, a boolean mask
        `(batch, num_groups[-1])`, true where a patch is hidden, with
        `num_masked` true values in every row. By default it is drawn.

    Output shape:
        dict, of the tokens of the last stage but one, of `"hidden"`
        `(batch, groups)`, true where the token was hidden, `"centers"`
        `(batch, groups, 3)`, `"reconstruction"`
        `(batch, groups, points_per_patch, 3)` and `"target"`
        `(batch, groups, group_size, 3)`, relative to the centres.

    Raises:
        ValueError: if the backbone has a fine-tuning method or only one stage,
            `mask_ratio` hides no patch or all, or `loss` is unknown.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointM2AEBackbone(
        (64, 32, 16), (16, 8, 8), (24, 48, 96), (2, 2, 2)
    )
    model = keras_pointpeft.models.HierarchicalMaskedAutoencoder(backbone)
    model.compile("adamw")
    model.fit(np.random.rand(64, 512, 3), epochs=1)
    backbone.save_to_preset("my_backbone")
    ```
    """

    config_names = (
        "decoder_depth",
        "decoder_num_heads",
        "propagation_depth",
        "mask_ratio",
        "points_per_patch",
        "decoder_drop_path_rate",
        "reference",
        "seed",
    )
    # See `PointM2AEBackbone.undecayed`.
    undecayed = (r"(^|/)propagation/",)

    def __init__(
        self,
        backbone,
        decoder_depth=1,
        decoder_num_heads=6,
        propagation_depth=1,
        mask_ratio=0.8,
        points_per_patch=None,
        decoder_drop_path_rate=0.0,
        loss="chamfer_l2",
        reference=False,
        seed=None,
        dtype=None,
        **kwargs,
    ):
        super().__init__(
            backbone,
            backbone.num_groups[-1],
            mask_ratio,
            loss,
            seed=seed,
            dtype=dtype,
            **kwargs,
        )
        if len(backbone.depths) < 2:
            raise ValueError(
                "Pre-training needs a backbone of at least two stages. "
                f"Received: depths={backbone.depths}"
            )
        if points_per_patch is None:
            points_per_patch = backbone.group_sizes[0]
        self.decoder_depth = decoder_depth
        self.decoder_num_heads = decoder_num_heads
        self.propagation_depth = propagation_depth
        self.points_per_patch = points_per_patch
        self.decoder_drop_path_rate = decoder_drop_path_rate
        self.reference = reference
        policy = self.dtype_policy

        stages = range(len(backbone.depths))
        get = backbone.get_layer
        self.patches = [get(f"patches_{i}") for i in stages]
        self.patch_encoders = [get(f"patch_encoder_{i}") for i in stages]
        self.positions = [get(f"position_{i}") for i in stages]
        self.blocks = [get(f"block_{i}") for i in range(backbone.depth)]

        def norm(name):
            return LayerNormalization(dtype=policy, name=name)

        self.norms = [norm(f"norm_{i}") for i in stages[:-1]] + [get("norm")]

        # === Decoder: the last stage, then the one below ===
        dims = backbone.dims[:-3:-1]
        rates = iter(drop_path_rates(decoder_drop_path_rate, 2 * decoder_depth))
        self.decoder_positions = [
            PositionMLP(dim, dim, dtype=policy, name=f"decoder_position_{k}")
            for k, dim in enumerate(dims)
        ]
        self.decoder_blocks = [
            TransformerBlock(
                dim,
                decoder_num_heads,
                drop_path_rate=next(rates),
                dtype=policy,
                name=f"decoder_block_{k}_{j}",
            )
            for k, dim in enumerate(dims)
            for j in range(decoder_depth)
        ]
        self.propagation = TokenPropagation(
            dims[1], propagation_depth, dtype=policy, name="propagation"
        )
        self.decoder_norm = norm("decoder_norm")
        self.rebuild = Linear(
            3 * points_per_patch, dtype=policy, name="rebuild"
        )
        self.build((None, None, 3))
        redraw(self.decoder_blocks, keras.initializers.GlorotUniform, seed)

    def build(self, points_shape):
        if self.built:
            return
        dims = self.backbone.dims
        self.mask_token = self.add_weight(
            shape=(1, 1, dims[-1]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="mask_token",
        )
        for norm, dim in zip(self.norms[:-1], dims):
            norm.build((None, None, dim))
        for position in self.decoder_positions:
            position.build((None, None, 3))
        for block in self.decoder_blocks:
            block.build((None, None, block.dim))
        below, last = (None, None, dims[-2]), (None, None, dims[-1])
        points = (None, None, 3)
        self.propagation.build(points, points, below, last)
        self.decoder_norm.build(below)
        self.rebuild.build(below)
        self.built = True

    def call(self, points, hidden=None, training=False):
        stages = self._cut(points)
        if hidden is None:
            hidden = self.draw_mask(stages[-1]["centers"])
        visible = ops.logical_not(ops.cast(hidden, "bool"))
        *_, below, last = self._encode(
            stages, visible, self.num_visible, training
        )

        # The last stage: visible patches first, then hidden ones.
        packing = last["packing"]
        order = ops.concatenate((packing.first, packing.last), axis=1)
        centers = gather(last["centers"], order)
        x = self.with_blanks(last["tokens"])
        x = self._decode(0, x, centers, training)

        # The stage below: what the encoder knows, and what is carried down.
        known = ops.cast(below["tokens"], self.compute_dtype)
        nothing = ops.zeros_like(below["encoded"], dtype=known.dtype)
        known = below["packing"].unpack(known, nothing)
        x = self.propagation(
            below["centers"], centers, known, x, training=training
        )
        x = self._decode(1, x, below["centers"], training)
        x = self.rebuild(self.decoder_norm(x))
        shape = (-1, x.shape[1], self.points_per_patch, 3)
        return {
            "reconstruction": ops.cast(ops.reshape(x, shape), "float32"),
            "target": below["neighborhoods"],
            "centers": below["centers"],
            "hidden": ops.logical_not(below["visible"]),
        }

    def _cut(self, points):
        """The patches of all stages."""
        stages, centers = [], points
        for patches in self.patches:
            stages.append(patches(centers))
            centers = stages[-1]["centers"]
        return stages

    def _encode(self, stages, visible, limit, training=False):
        """The tokens of all stages, after their norms.

        Args:
            stages: list of dicts, what `_cut` returns.
            visible: boolean `(batch, num_groups[-1])`.
            limit: int. At most so many are true in a row.
            training: bool.

        Returns:
            `stages`, each with its `"visible"` mask, its `"packing"`, all its
            `"encoded"` patches and its visible `"tokens"`, packed.
        """
        found = []
        for i in reversed(range(len(stages))):
            patches = stages[i]
            packing = Packing(visible, limit)
            found.append({**patches, "visible": visible, "packing": packing})
            if i == 0:
                break
            count = self.backbone.num_groups[i - 1]
            # At most so many can be visible, whatever the mask.
            limit = min(count, limit * patches["neighbors"].shape[-1])
            every = visible
            visible = visible_below(visible, patches["neighbors"], count)
            if self.reference:
                visible = _with_first(visible, every)
                limit = min(count, limit + 1)
        found, tokens = found[::-1], None
        for i, stage in enumerate(found):
            packing, centers = stage["packing"], stage["centers"]
            patches = stage["neighborhoods"]
            if i > 0:
                patches = gather(tokens, stage["neighbors"])
            # All patches are encoded: batch statistics include hidden ones.
            encoded = self.patch_encoders[i](patches, training=training)
            x, centers = packing.pack(encoded), packing.pack(centers)
            mask = packing.published if self.reference else packing.near
            mask = mask(centers, self.backbone.radii[i])
            positions = self.positions[i](centers)
            for j in self.backbone.blocks_of(i):
                x = x + positions
                x = self.blocks[j](x, attention_mask=mask, training=training)
            tokens = packing.unpack(x, encoded)
            stage["encoded"] = encoded
            stage["tokens"] = self.norms[i](x)
        return found

    def _decode(self, stage, x, centers, training):
        positions = self.decoder_positions[stage](centers)
        start = stage * self.decoder_depth
        for block in self.decoder_blocks[start : start + self.decoder_depth]:
            x = block(x + positions, training=training)
        return x

    def compute_loss(
        self,
        x=None,
        y=None,
        y_pred=None,
        sample_weight=None,
        training=True,
    ):
        """The chamfer distance between rebuilt and true hidden patches."""
        hidden = ops.reshape(y_pred["hidden"], (-1,))
        return self.distance(y_pred["reconstruction"], y_pred["target"], hidden)

    def stage_features(self, points):
        """One feature per stage of whole clouds, for a linear classifier.

        The mean plus the maximum over the stage's tokens, after its norm.
        Tokens that no patch of the next stage is made of take no part.

        Args:
            points: `(batch, points, 3)`.

        Returns:
            A list of tensors `(batch, dims[i])`. The last one is what the
            published linear SVM is trained on.

        Example:
        ```python
        feature = model.stage_features(points)[-1]
        ```
        """
        stages = self._cut(points)
        groups = self.backbone.num_groups[-1]
        visible = ops.ones((ops.shape(points)[0], groups), dtype="bool")
        features = []
        for stage in self._encode(stages, visible, groups):
            tokens, packing = stage["tokens"], stage["packing"]
            counted = packing.real
            if self.reference:
                counted = ops.logical_or(counted, packing.padding)
            counted = counted[..., None]
            share = ops.cast(counted, tokens.dtype)
            mean = ops.sum(tokens * share, axis=1) / ops.sum(share, axis=1)
            lowest = ops.full_like(tokens, -1e30)
            top = ops.max(ops.where(counted, tokens, lowest), axis=1)
            features.append(mean + top)
        return features

    def drawn_layers(self):
        return (*self.patch_encoders, *self.positions, *self.blocks)


def _with_first(visible, above):
    """The batch's very first token seen if anything above is hidden."""
    batch, count = ops.shape(visible)[0], visible.shape[1]
    first = ops.arange(batch * count, dtype="int32") == 0
    hidden = ops.logical_not(ops.all(above))
    first = ops.logical_and(ops.reshape(first, (-1, count)), hidden)
    return ops.logical_or(visible, first)
