from keras_pointpeft.layers import ClassTokens
from keras_pointpeft.layers import ContrastTokens
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import PositionMLP
from keras_pointpeft.models.assembly import Assembly
from keras_pointpeft.models.assembly import cloud_inputs
from keras_pointpeft.models.backbone import PointBackbone
from keras_pointpeft.models.trunk import Stage
from keras_pointpeft.serialization import positive_integer
from keras_pointpeft.serialization import serializable


@serializable
class ReConBackbone(PointBackbone):
    """The transformer of ReCon.

    [Contrast with Reconstruct: Contrastive 3D Representation Learning Guided
    by Generative Pretraining](https://arxiv.org/abs/2302.02318). Three class
    tokens, one each for class, image and text, have weights of their own in
    every block and look at the patches, which see each other alone. The
    residuals leave behind the norms, not before them, as in the published
    code.

    Fine-tuning methods act on both groups of tokens with the same added
    weights, as they do on the class token of other backbones; their prompts
    join the patches.

    Args:
        num_groups: int. Number of patches.
        group_size: int. Points per patch.
        dim: int. Width of the tokens.
        depth: int. Number of transformer blocks.
        num_heads: int. Attention heads per block.
        encoder_dims: tuple of ints. Inner widths of the patch encoder.
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
        dict of `"class_tokens"` `(batch, 3, dim)`, in the order class, image,
        text, `"patch_tokens"` `(batch, num_groups, dim)`, `"centers"`
        `(batch, num_groups, 3)` and, if the method keeps prompts,
        `"prompt_tokens"` `(batch, prompts, dim)`.

    Example:
    ```python
    backbone = keras_pointpeft.models.ReConBackbone(
        num_groups=32, group_size=16, dim=96, depth=3, num_heads=6
    )
    tokens = backbone(np.random.rand(2, 512, 3))["class_tokens"]
    ```
    """

    num_class_tokens = 3
    reads_class_tokens = True
    pooling = {
        "class_token": "all",
        "prompt_token": None,
        "patch_token": "max",
    }

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
        qkv_bias=False,
        extra_channels=0,
        peft=None,
        dtype=None,
        **kwargs,
    ):
        positive_integer("dim", dim)

        def contrast():
            layer = ContrastTokens(
                dim,
                num_heads,
                self.num_class_tokens,
                dtype=dtype,
                name="contrast",
            )
            return {"contrast": layer}

        # === Functional Model ===
        points, *cloud = cloud_inputs(extra_channels)
        stage = Stage(
            PointPatches(num_groups, group_size, skip_origin, name="patches"),
            PositionMLP(dim, dtype=dtype, name="position"),
            dim,
            depth,
            encoder_dims,
            # Each is put in front of the sequence, so the last one added stands
            # first.
            front=[
                ClassTokens(dim, dtype=dtype, name=name)
                for name in ("text_token", "image_token", "class_tokens")
            ],
        )
        parts = Assembly(
            [stage],
            self.num_class_tokens,
            peft,
            dtype,
            drop_path_rate,
            make=contrast,
            num_heads=num_heads,
            qkv_bias=qkv_bias,
            normalized_skips=(True, True),
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
        self.num_groups = num_groups
        self.group_size = group_size
        self.dim = dim
        self.depth = depth
        self.num_heads = num_heads
        self.encoder_dims = tuple(encoder_dims)
        self.drop_path_rate = drop_path_rate
        self.skip_origin = skip_origin
        self.qkv_bias = qkv_bias
        self.extra_channels = extra_channels
