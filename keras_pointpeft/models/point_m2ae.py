import keras

from keras_pointpeft.layers import NearMask
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import PositionMLP
from keras_pointpeft.models.assembly import Assembly
from keras_pointpeft.models.backbone import PointBackbone
from keras_pointpeft.ops import gather
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
        peft: optional `keras_pointpeft.peft.PeftMethod`. Without one, all
            parameters train.
        dtype: optional dtype or `keras.DTypePolicy`. Geometry stays float32.

    Input shape:
        `(batch, points, 3)`.

    Output shape:
        dict, of the last stage, of `"patch_tokens"`
        `(batch, num_groups[-1], dims[-1])`, `"centers"`
        `(batch, num_groups[-1], 3)` and, if the method keeps prompts,
        `"prompt_tokens"` `(batch, prompts, dims[-1])`.

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

    config_names = (
        "num_groups",
        "group_sizes",
        "dims",
        "depths",
        "num_heads",
        "radii",
        "encoder_dims",
        "drop_path_rate",
        "skip_origin",
    )
    num_class_tokens = 0
    pooling = {
        "class_token": None,
        "prompt_token": None,
        "patch_token": "mean+max",
    }
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
        peft=None,
        dtype=None,
        **kwargs,
    ):
        stages = {
            "num_groups": tuple(num_groups),
            "group_sizes": tuple(group_sizes),
            "dims": tuple(dims),
            "depths": tuple(depths),
            "radii": tuple(radii),
        }
        if len({len(values) for values in stages.values()}) > 1:
            raise ValueError(
                "All stages must have a value of each of "
                f"{', '.join(stages)}. Received: {stages}"
            )

        # === Functional Model ===
        points = keras.Input((None, 3), name="points")
        centers, tokens, start = points, None, 0
        for i, (groups, size, dim, depth, radius) in enumerate(
            zip(*stages.values())
        ):
            parts = Assembly(dim, sum(depths), 0, peft, dtype, f"_{i}")
            patches = PointPatches(
                groups, size, skip_origin, name=f"patches_{i}"
            )(centers)
            if i == 0:
                inner_dims = encoder_dims
                neighborhoods = patches["neighborhoods"]
            else:
                below = dims[i - 1]
                inner_dims = (below, below, dim)
                # Without the prompts of the stage before.
                neighborhoods = gather(
                    tokens[:, -num_groups[i - 1] :], patches["neighbors"]
                )
            centers = patches["centers"]
            tokens = parts.transform(
                parts.encode(neighborhoods, inner_dims),
                PositionMLP(
                    dim, dim, dtype=parts.policy, name=f"position_{i}"
                )(centers),
                {"centers": centers},
                drop_path_rate,
                attention_mask=NearMask(radius, name=f"near_{i}")(centers),
                blocks=range(start, start + depth),
                num_heads=num_heads,
            )
            start += depth
        outputs = parts.outputs(parts.norm(tokens), patches)
        super().__init__(
            points, outputs, peft=parts.peft, dtype=dtype, **kwargs
        )

        # === Config ===
        for name, values in stages.items():
            setattr(self, name, values)
        self.num_heads = num_heads
        self.encoder_dims = tuple(encoder_dims)
        self.drop_path_rate = drop_path_rate
        self.skip_origin = skip_origin

    @property
    def dim(self):
        """Width of the last stage's tokens."""
        return self.dims[-1]

    @property
    def depth(self):
        """Number of transformer blocks, of all stages."""
        return sum(self.depths)

    def blocks_of(self, stage):
        """The numbers of a stage's blocks, as a range."""
        start = sum(self.depths[:stage])
        return range(start, start + self.depths[stage])
