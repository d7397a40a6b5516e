import keras

from keras_pointpeft.layers import NearMask
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import PositionMLP
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.models.assembly import Assembly
from keras_pointpeft.models.assembly import cloud_inputs
from keras_pointpeft.models.backbone import PointBackbone
from keras_pointpeft.models.trunk import Stage
from keras_pointpeft.serialization import positive_integers
from keras_pointpeft.serialization import serializable


@serializable
class PointM2AEBackbone(PointBackbone):
    """The hierarchical transformer of Point-M2AE.

    [Point-M2AE: Multi-scale Masked Autoencoders for Hierarchical Point Cloud
    Pre-training](https://arxiv.org/abs/2205.14401). Patches of points become
    tokens; each later stage joins neighbouring tokens of the stage before
    into fewer, wider ones. Inside a stage, a token attends to those within a
    radius. There is no class token.

    A fine-tuning method tunes the blocks of all stages. Prompts stay in their
    stage: they attend to, and are seen by, all of its tokens, and take no
    part in the next stage's patches.

    Args:
        num_groups: tuple of ints. Number of patches, stage by stage.
        group_sizes: tuple of ints. Points, or tokens of the stage before,
            per patch.
        dims: tuple of ints. Widths of the tokens.
        depths: tuple of ints. Numbers of transformer blocks.
        num_heads: int. Attention heads per block.
        radii: tuple of floats. How far the tokens of a stage see.
        encoder_dims: tuple of three ints. Inner widths of the first stage's
            patch encoder.
        drop_path_rate: float. Stochastic depth of the last block; earlier
            blocks have proportionally less.
        skip_origin: bool. Whether patch centres leave out points near the
            origin, as the published sampling kernel does.
        qkv_bias: bool. Whether queries, keys and values have a bias. The
            published models have none; one that `SSF` was merged into does.
        extra_channels: int. See `PointMAEBackbone`.
        peft: optional `keras_pointpeft.peft.PeftMethod`. Without one, all
            parameters train.
        dtype: optional dtype or `keras.DTypePolicy`. Geometry stays float32.

    Input shape:
        `(batch, points, 3 + extra_channels)`.

    Output shape:
        dict, of the last stage, of `"patch_tokens"`
        `(batch, num_groups[-1], dims[-1])`, `"centers"`
        `(batch, num_groups[-1], 3)` and, if the method keeps prompts,
        `"prompt_tokens"` `(batch, prompts, dims[-1])`.

    Raises:
        ValueError: if the stages do not have a value each of their arguments.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointM2AEBackbone(
        num_groups=(64, 32, 16),
        group_sizes=(16, 8, 8),
        dims=(24, 48, 96),
        depths=(2, 2, 2),
    )
    tokens = backbone(np.random.rand(2, 512, 3))["patch_tokens"]
    ```
    """

    num_class_tokens = 0
    pooling = {
        "class_token": None,
        "prompt_token": None,
        "patch_token": "mean+max",
    }
    decoder = "stages"
    # The published rule spares what has "token" in its name: here, the
    # modules of the patch encoders.
    undecayed = (r"(^|/)patch_encoder_\d+/",)

    def __init__(
        self,
        num_groups=(512, 256, 64),
        group_sizes=(16, 8, 8),
        dims=(96, 192, 384),
        depths=(5, 5, 5),
        num_heads=6,
        radii=(0.32, 0.64, 1.28),
        encoder_dims=(128, 256, 512),
        drop_path_rate=0.0,
        skip_origin=False,
        qkv_bias=False,
        extra_channels=0,
        peft=None,
        dtype=None,
        **kwargs,
    ):
        stages = {
            "num_groups": positive_integers("num_groups", num_groups),
            "group_sizes": positive_integers("group_sizes", group_sizes),
            "dims": positive_integers("dims", dims),
            "depths": positive_integers("depths", depths),
            "radii": tuple(radii),
        }
        if len({len(values) for values in stages.values()}) > 1:
            raise ValueError(
                "All stages must have a value of each of "
                f"{', '.join(stages)}. Received: {stages}"
            )

        # === Functional Model ===
        points, *cloud = cloud_inputs(extra_channels)
        parts = Assembly(
            _stages(stages, encoder_dims, skip_origin, dtype),
            self.num_class_tokens,
            peft,
            dtype,
            drop_path_rate,
            adds_mean=True,
            num_heads=num_heads,
            qkv_bias=qkv_bias,
        )
        tokens = parts.normalized(parts.tokens(*cloud))
        super().__init__(
            points,
            parts.outputs(tokens),
            peft=parts.peft,
            dtype=dtype,
            trunk=parts.trunk,
            **kwargs,
        )

        # === Config ===
        for name, values in stages.items():
            setattr(self, name, values)
        self.num_heads = num_heads
        self.encoder_dims = tuple(encoder_dims)
        self.drop_path_rate = drop_path_rate
        self.skip_origin = skip_origin
        self.qkv_bias = qkv_bias
        self.extra_channels = extra_channels

    @property
    def dim(self):
        """Width of the last stage's tokens."""
        return self.dims[-1]

    @property
    def depth(self):
        """Number of transformer blocks, of all stages."""
        return sum(self.depths)

    @property
    def group_size(self):
        """Points per patch, stage by stage."""
        return self.group_sizes

    @property
    def dense_blocks(self):
        """The blocks that segmentation reads: the last one of each stage."""
        stages = range(len(self.depths))
        return tuple(self.blocks_of(i)[-1] for i in stages)

    def dense(self, blocks=None):
        """A model of what segmentation reads: tokens and their places.

        Args:
            blocks: None, for the last block of each stage.

        Returns:
            A `keras.Model` from points to a dict of `"tokens"` and
            `"centers"`, lists with the patch tokens
            `(batch, num_groups[i], dims[i])` of each stage and their centres.
            All stages but the last get a norm of their own.
        """
        if blocks not in (None, self.dense_blocks):
            raise ValueError(
                "Segmentation reads the last block of each stage. "
                f"Received: blocks={blocks!r}"
            )
        tokens, centers = [], []
        outputs = self.features(self.dense_blocks).outputs
        for i, x in enumerate(outputs):
            x = x[:, -self.num_groups[i] :]
            if i == len(outputs) - 1:
                (x,) = self._normalized([x])
            else:
                x = LayerNormalization(
                    dtype=self.dtype_policy,
                    name=f"dense_norm_{i}",
                )(x)
            tokens.append(x)
            # The mask of a stage is made of its centres.
            centers.append(self.get_layer(f"near_{i}").input)
        found = {"tokens": tokens, "centers": centers}
        return keras.Model(self.input, found, name="dense")

    def blocks_of(self, stage):
        """The numbers of a stage's blocks, as a range."""
        start = sum(self.depths[:stage])
        return range(start, start + self.depths[stage])


def _stages(sizes, encoder_dims, skip_origin, dtype):
    """What the backbone is made of.

    Args:
        sizes: dict of tuples, a value of each for every stage.
        encoder_dims, skip_origin, dtype: see `PointM2AEBackbone`.
    """
    found, dims = [], sizes["dims"]
    patches = list(zip(sizes["num_groups"], sizes["group_sizes"]))
    for i, (dim, depth, radius) in enumerate(
        zip(dims, sizes["depths"], sizes["radii"])
    ):
        cut = PointPatches(*patches[i], skip_origin, name=f"patches_{i}")
        # Neighbourhoods of patches are the patches of the next stage.
        following = [*patches, (None, patches[i][1])][i + 1]
        if i > 0:
            encoder_dims = (dims[i - 1], dims[i - 1], dim)
        found.append(
            Stage(
                cut,
                PositionMLP(dim, dim, dtype=dtype, name=f"position_{i}"),
                dim,
                depth,
                encoder_dims,
                joined=i > 0,
                near=NearMask(radius, name=f"near_{i}"),
                next_patches=following,
            )
        )
    return found
