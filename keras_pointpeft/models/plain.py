import keras

from keras_pointpeft.layers import ClassTokens
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import PositionMLP
from keras_pointpeft.models.assembly import Assembly
from keras_pointpeft.models.backbone import PointBackbone


class PlainBackbone(PointBackbone):
    """The plain transformer that Point-MAE, Point-BERT and ACT share.

    Patches of points become tokens through a mini-PointNet; a class token
    and the embedded positions of the patch centres join them; standard blocks
    follow, with the positions added again before every one.

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
        token_dim: optional int. Width of the patch encoder's output. If it
            is not `dim`, a linear layer follows the patch encoder.
        class_token: bool. Whether there is a class token. The published
            segmentation models of Point-MAE and ACT have none.
        qkv_bias: bool. Whether queries, keys and values have a bias. The
            published models have none; one that `SSF` was merged into does.
        peft: optional `keras_pointpeft.peft.PeftMethod`. Without one, all
            parameters train.
        dtype: optional dtype or `keras.DTypePolicy`. Geometry stays float32.
    """

    # What `token_dim=None` stands for; None itself stands for `dim`.
    usual_token_dim = None
    config_names = (
        "num_groups",
        "group_size",
        "dim",
        "depth",
        "num_heads",
        "encoder_dims",
        "drop_path_rate",
        "skip_origin",
        "token_dim",
        "class_token",
        "qkv_bias",
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
        token_dim=None,
        class_token=True,
        qkv_bias=False,
        peft=None,
        dtype=None,
        **kwargs,
    ):
        token_dim = self.usual_token_dim if token_dim is None else token_dim
        parts = Assembly(dim, depth, int(class_token), peft, dtype)
        policy = parts.policy

        # === Functional Model ===
        points = keras.Input((None, 3), name="points")
        cut = PointPatches(num_groups, group_size, skip_origin, name="patches")
        cloud = parts.cloud(points, cut)
        patches = cut(cloud["points"])
        tokens = parts.encode(patches["neighborhoods"], encoder_dims, token_dim)
        position = PositionMLP(dim, dtype=policy, name="position")
        positions = parts.embed(position, patches["centers"])
        geometry = parts.geometry(cloud, tokens, positions, patches, cut)
        if class_token:
            tokens, positions = ClassTokens(
                dim, dtype=policy, name="class_tokens"
            )(tokens, positions)
        tokens = parts.transform(
            tokens,
            positions,
            geometry,
            drop_path_rate,
            num_heads=num_heads,
            qkv_bias=qkv_bias,
        )
        outputs = parts.outputs(parts.norm(tokens), patches)
        super().__init__(
            points, outputs, peft=parts.peft, dtype=dtype, **kwargs
        )
        self.trunk = parts.trunk

        # === Config ===
        self.num_groups = num_groups
        self.group_size = group_size
        self.dim = dim
        self.depth = depth
        self.num_heads = num_heads
        self.encoder_dims = tuple(encoder_dims)
        self.drop_path_rate = drop_path_rate
        self.skip_origin = skip_origin
        self.token_dim = token_dim
        self.class_token = class_token
        self.qkv_bias = qkv_bias
        self.num_class_tokens = int(class_token)
