import keras

from keras_pointpeft.layers import ClassTokens
from keras_pointpeft.layers import PatchEncoder
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import PositionMLP
from keras_pointpeft.layers import SplitTokens
from keras_pointpeft.layers import TransformerBlock
from keras_pointpeft.models.backbone import PointBackbone
from keras_pointpeft.models.backbone import as_method
from keras_pointpeft.models.backbone import drop_path_rates
from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.serialization import serializable


@serializable
class PointMAEBackbone(PointBackbone):
    """The transformer of Point-MAE.

    [Masked Autoencoders for Point Cloud Self-supervised
    Learning](https://arxiv.org/abs/2203.06604). Patches of points become
    tokens through a mini-PointNet; a class token and the embedded positions
    of the patch centres join them; a plain transformer follows, with the
    positions added again before every block.

    Args:
        num_groups: int. Number of patches.
        group_size: int. Points per patch.
        dim: int. Width of the tokens.
        depth: int. Number of transformer blocks.
        num_heads: int. Attention heads per block.
        encoder_dims: tuple of three ints. Inner widths of the patch encoder.
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
        dict of `"class_tokens"` `(batch, 1, dim)`, `"patch_tokens"`
        `(batch, num_groups, dim)`, `"centers"` `(batch, num_groups, 3)` and,
        if the method keeps prompts, `"prompt_tokens"`
        `(batch, prompts, dim)`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=32, group_size=16, dim=96, depth=3, num_heads=6
    )
    tokens = backbone(np.random.rand(2, 512, 3))["patch_tokens"]
    ```
    """

    config_names = (
        "num_groups",
        "group_size",
        "dim",
        "depth",
        "num_heads",
        "encoder_dims",
        "drop_path_rate",
        "skip_origin",
    )

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
        peft=None,
        dtype=None,
        **kwargs,
    ):
        peft = as_method(peft)
        # The base class adds nothing to a backbone; it says so once here.
        method = PeftMethod() if peft is None else peft
        policy = keras.dtype_policies.get(dtype)
        frozen = not method.trains("patch_encoder/norm1/gamma")

        # === Functional Model ===
        points = keras.Input((None, 3), name="points")
        patches = PointPatches(
            num_groups, group_size, skip_origin, name="patches"
        )(points)
        geometry = {"centers": patches["centers"]}
        tokens = PatchEncoder(
            dim,
            encoder_dims,
            frozen_statistics=frozen and method.frozen_bn == "inference",
            dtype=policy,
            name="patch_encoder",
        )(patches["neighborhoods"])
        tuner = method.patch_tuner(dim, dtype=policy, name="tuner_patches")
        if tuner is not None:
            tokens = tuner(tokens)
        positions = PositionMLP(dim, dtype=policy, name="position")(
            patches["centers"]
        )
        tokens, positions = ClassTokens(dim, dtype=policy, name="class_tokens")(
            tokens, positions
        )

        rates = drop_path_rates(drop_path_rate, depth)
        for i in range(depth):
            if i == 0 or method.position != "once":
                tokens = tokens + positions
            block = TransformerBlock(
                dim,
                num_heads,
                drop_path_rate=rates[i],
                tuner=method.block_tuner(
                    i,
                    depth,
                    dim,
                    num_class_tokens=self.num_class_tokens,
                    mlp_ratio=4.0,
                    dtype=policy,
                    name="tuner",
                ),
                dtype=policy,
                name=f"block_{i}",
            )
            tokens = block(tokens, geometry)

        tokens = keras.layers.LayerNormalization(
            epsilon=1e-5, dtype=policy, name="norm"
        )(tokens)
        tuner = method.norm_tuner(dim, dtype=policy, name="tuner_norm")
        if tuner is not None:
            tokens = tuner(tokens)
        outputs = SplitTokens(
            self.num_class_tokens, num_groups, dtype=policy, name="split"
        )(tokens)
        outputs["centers"] = patches["centers"]
        super().__init__(points, outputs, peft=peft, dtype=dtype, **kwargs)

        # === Config ===
        self.num_groups = num_groups
        self.group_size = group_size
        self.dim = dim
        self.depth = depth
        self.num_heads = num_heads
        self.encoder_dims = tuple(encoder_dims)
        self.drop_path_rate = drop_path_rate
        self.skip_origin = skip_origin
