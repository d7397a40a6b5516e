import keras
import numpy as np

from keras_pointpeft.layers import NearMask
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import PositionMLP
from keras_pointpeft.layers.layer_normalization import LayerNormalization
from keras_pointpeft.models.assembly import Assembly
from keras_pointpeft.models.backbone import PointBackbone
from keras_pointpeft.models.trunk import HierarchicalPass
from keras_pointpeft.models.trunk import HierarchicalTrunk
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
        qkv_bias: bool. Whether queries, keys and values have a bias. The
            published models have none; one that `SSF` was merged into does.
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
        "qkv_bias",
    )
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
        trunk, layout = HierarchicalTrunk(), []
        # What a method makes of the points, if anything, is `seen`.
        centers, seen = points, None
        tokens, start = None, 0
        for i, (groups, size, dim, depth, radius) in enumerate(
            zip(*stages.values())
        ):
            last = i == len(stages["dims"]) - 1
            place = (i, len(stages["dims"]), start)
            parts = Assembly(dim, sum(depths), 0, peft, dtype, place)
            cut = PointPatches(groups, size, skip_origin, name=f"patches_{i}")
            if i == 0:
                seen = parts.cloud(points, cut)
                patches = cut(seen["points"])
                inner_dims, values = encoder_dims, None
                neighborhoods = patches["neighborhoods"]
            else:
                patches = cut(centers)
                below = dims[i - 1]
                inner_dims = (below, below, dim)
                # Without the prompts of the stage before.
                values = tokens[:, -num_groups[i - 1] :]
                neighborhoods = gather(values, patches["neighbors"])
            # Neighbourhoods of patches are the patches of the next stage.
            following = (None, size)
            if not last:
                following = (num_groups[i + 1], group_sizes[i + 1])
            centers = patches["centers"]
            layout.append(patches)
            position = PositionMLP(
                dim, dim, dtype=parts.policy, name=f"position_{i}"
            )
            near = NearMask(radius, name=f"near_{i}")
            tokens = parts.encode(neighborhoods, inner_dims, joined=i > 0)
            positions = parts.embed(position, centers)
            geometry = parts.surroundings(seen, centers, cut, following, values)
            moved = geometry.get("prompted_centers", centers)
            seen = {**seen, "points": moved}
            trunk.stages.append(
                {
                    "encoder": parts.trunk.encoder[0],
                    "position": position,
                    "near": near,
                    "blocks": parts.trunk.blocks,
                }
            )
            if last and (prior := parts.prior()) is not None:
                sizes = (prior.num_groups, prior.group_size)
                if sizes == (None, None):
                    first = trunk.stages[0]["encoder"]
                    feature = _feature(trunk, dim, layout, first)
                else:
                    sizes = _per_stage(sizes, (num_groups, group_sizes))
                    cuts = _cut(points, *sizes, skip_origin)
                    feature = _feature(trunk, dim, cuts)
                geometry |= prior(feature)
            tokens = parts.transform(
                tokens,
                positions,
                geometry,
                drop_path_rate,
                attention_mask=near(centers),
                blocks=range(start, start + depth),
                num_heads=num_heads,
                qkv_bias=qkv_bias,
            )
            start += depth
        outputs = parts.outputs(parts.norm(tokens), patches)
        trunk.norm = parts.trunk.norm
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
        self.qkv_bias = qkv_bias
        self.trunk = trunk

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

    def frozen_pass(self, num_groups=None, group_size=None):
        """A model of the feature that the backbone has without its method.

        Args:
            num_groups: optional tuple of ints. Numbers of patches, by default
                the backbone's.
            group_size: optional tuple of ints. Points per patch, likewise.

        Returns:
            A `keras.Model` from points to the mean plus the maximum over the
            final patch tokens, `(batch, dims[-1])`, without prompts or
            tuners. It carries no gradient.
        """
        points = keras.Input((None, 3), name="points")
        sizes = _per_stage(
            (num_groups, group_size), (self.num_groups, self.group_sizes)
        )
        layout = _cut(points, *sizes, self.skip_origin)
        return keras.Model(points, _feature(self.trunk, self.dim, layout))

    def blocks_of(self, stage):
        """The numbers of a stage's blocks, as a range."""
        start = sum(self.depths[:stage])
        return range(start, start + self.depths[stage])


def _per_stage(sizes, own):
    """Sizes of the patches of all stages; None stands for the own ones."""
    for size, ours in zip(sizes, own):
        if size is not None and len(tuple(np.atleast_1d(size))) != len(ours):
            raise ValueError(
                f"A backbone of {len(ours)} stages has as many numbers and "
                "sizes of patches; None stands for its own. "
                f"Received: {size!r}"
            )
    return [ours if size is None else size for size, ours in zip(sizes, own)]


def _cut(points, num_groups, group_sizes, skip_origin):
    """Patches of all stages, for a frozen pass with patches of its own."""
    centers, layout = points, []
    for i, sizes in enumerate(zip(num_groups, group_sizes)):
        patches = PointPatches(*sizes, skip_origin, name=f"frozen_patches_{i}")(
            centers
        )
        centers = patches["centers"]
        layout.append(patches)
    return layout


def _feature(trunk, dim, layout, encoder=None):
    """The trunk's feature of a cloud whose patches are known.

    Args:
        trunk: a `HierarchicalTrunk`.
        dim: int. Width of the feature.
        layout: list of dicts, the patches of all stages.
        encoder: optional, the first stage's encoder, applied to them. Its
            tokens serve here too unless batch statistics act.
    """
    encoded = encoder is not None and encoder.frozen_statistics
    return HierarchicalPass(trunk, dim, encoded, name="frozen_pass")(
        encoder.output if encoded else layout[0]["neighborhoods"],
        [patches["centers"] for patches in layout],
        [patches["neighbors"] for patches in layout[1:]],
    )
