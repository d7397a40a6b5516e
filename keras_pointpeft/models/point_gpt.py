from keras import ops

from keras_pointpeft.layers import ChainOrder
from keras_pointpeft.layers import ClassTokens
from keras_pointpeft.layers import PointGenerator
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import SinePosition
from keras_pointpeft.layers.basic import LayerNormalization
from keras_pointpeft.models.assembly import Assembly
from keras_pointpeft.models.assembly import cloud_inputs
from keras_pointpeft.models.backbone import PointBackbone
from keras_pointpeft.models.trunk import Stage
from keras_pointpeft.serialization import positive_integer
from keras_pointpeft.serialization import serializable
from keras_pointpeft.serialization import whole_number


@serializable
class PointGPTBackbone(PointBackbone):
    """The transformer of PointGPT.

    [PointGPT: Auto-regressively Generative Pre-training from Point
    Clouds](https://arxiv.org/abs/2305.11487). Patches stand in a row, each
    followed by its nearest unvisited neighbour, and attention is causal. A
    start token and a class token come before them. The class token sees
    nothing of the cloud, then: what the head reads of it is the same for
    every cloud, as in the published model.

    Sizes: S is the default. B is `dim=768, num_heads=12`, L is `dim=1024,
    depth=24, num_heads=16`, both with `encoder_dims=(256, 512, 1024, 2048)`.

    Args:
        num_groups: int. Number of patches.
        group_size: int. Points per patch.
        dim: int. Width of the tokens.
        depth: int. Number of transformer blocks.
        num_heads: int. Attention heads per block.
        encoder_dims: tuple of three or four ints. Inner widths of the patch
            encoder.
        drop_path_rate: float. Stochastic depth of the last block; earlier
            blocks have proportionally less.
        skip_origin: bool. Whether patch centres leave out points near the
            origin, as the published sampling kernel does.
        generator_depth: int. Blocks of the generation branch, 4 in the
            published models. It predicts each patch's points from the patches
            before, and adds what it gets wrong to the loss. 0 leaves it out.
        generator_weight: float. Weight of that loss.
        extra_channels: int. See `PointMAEBackbone`.
        peft: optional `keras_pointpeft.peft.PeftMethod`. Without one, all
            parameters train.
        dtype: optional dtype or `keras.DTypePolicy`. Geometry stays float32.

    Input shape:
        `(batch, points, 3 + extra_channels)`.

    Output shape:
        dict of `"class_tokens"` `(batch, 1, dim)`, `"patch_tokens"`
        `(batch, num_groups, dim)` and `"centers"` `(batch, num_groups, 3)`,
        both in the order of the row; if the method keeps prompts,
        `"prompt_tokens"` `(batch, prompts, dim)`; with a generation branch,
        `"generated_points"` `(batch, num_groups, group_size, 3)`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointGPTBackbone(
        num_groups=32, group_size=16, dim=96, depth=3, num_heads=6
    )
    tokens = backbone(np.random.rand(2, 512, 3))["patch_tokens"]
    ```
    """

    # In the sequence. The start token is not among the outputs.
    num_class_tokens = 2

    def __init__(
        self,
        num_groups=64,
        group_size=32,
        dim=384,
        depth=12,
        num_heads=6,
        encoder_dims=(128, 256, 512),
        drop_path_rate=0.0,
        skip_origin=False,
        generator_depth=0,
        generator_weight=3.0,
        extra_channels=0,
        peft=None,
        dtype=None,
        **kwargs,
    ):
        positive_integer("dim", dim)
        generator_depth = whole_number("generator_depth", generator_depth)

        # === Functional Model ===
        points, *cloud = cloud_inputs(extra_channels)
        stage = Stage(
            PointPatches(num_groups, group_size, skip_origin, name="patches"),
            SinePosition(dim, dtype=dtype, name="position"),
            dim,
            depth,
            encoder_dims,
            front=[
                ClassTokens(dim, index=index, dtype=dtype, name=name)
                for index, name in enumerate(("start_token", "class_tokens"))
            ],
            order=ChainOrder(name="order"),
        )
        parts = Assembly(
            [stage],
            self.num_class_tokens,
            peft,
            dtype,
            drop_path_rate,
            num_heads=num_heads,
            qkv_bias=True,
            normalized_skips=(True, False),
            causal=True,
            generates=generator_depth > 0,
        )
        tokens = parts.normalized(parts.tokens(*cloud))
        class_norm = LayerNormalization(dtype=dtype, name="class_norm")
        outputs = parts.outputs(class_norm(tokens), num_left_out=1)
        if generator_depth:
            tuners, geometry = parts.generator_tuners(generator_depth)
            generator = PointGenerator(
                dim,
                generator_depth,
                num_heads,
                group_size,
                generator_weight,
                tuners,
                dtype=dtype,
                name="generator",
            )
            before = ops.concatenate(
                (tokens[:, :1], tokens[:, -num_groups:-1]), axis=1
            )
            centers = parts.patches["centers"]
            outputs["generated_points"] = generator(
                before,
                centers,
                target=parts.patches["neighborhoods"]
                + ops.expand_dims(centers, 2),
                geometry=geometry,
            )
        super().__init__(
            points,
            outputs,
            peft=parts.peft,
            dtype=dtype,
            trunk=parts.trunk,
            **kwargs,
        )

        # === Config ===
        self.num_groups = num_groups
        self.group_size = group_size
        self.dim = dim
        self.depth = depth
        self.num_heads = num_heads
        self.encoder_dims = tuple(encoder_dims)
        self.drop_path_rate = drop_path_rate
        self.skip_origin = skip_origin
        self.generator_depth = generator_depth
        self.generator_weight = generator_weight
        self.extra_channels = extra_channels

    def _normalized(self, outputs):
        # As published, the class token gets a norm that the pre-trained
        # backbone does not have.
        norm = LayerNormalization(dtype=self.dtype_policy, name="dense_norm")
        return [norm(tokens) for tokens in outputs]
