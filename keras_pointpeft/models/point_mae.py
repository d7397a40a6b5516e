"""The plain transformer of Point-MAE, which ACT, Point-BERT, PCP-MAE and
Point-PQAE share.
"""

from keras_pointpeft.layers import ClassTokens
from keras_pointpeft.layers import CodedPositionMLP
from keras_pointpeft.layers import PointPatches
from keras_pointpeft.layers import PositionMLP
from keras_pointpeft.models.assembly import Assembly
from keras_pointpeft.models.assembly import cloud_inputs
from keras_pointpeft.models.backbone import PointBackbone
from keras_pointpeft.models.trunk import Stage
from keras_pointpeft.serialization import positive_integer
from keras_pointpeft.serialization import serializable


class PlainBackbone(PointBackbone):
    """Patches become tokens; a class token and the embedded positions of the
    patch centres join them; standard blocks follow, with the positions added
    again before every one.

    Args:
        **kwargs: see `PointMAEBackbone`.
    """

    # What `token_dim=None` stands for; None itself stands for `dim`.
    usual_token_dim = None
    # What embeds the centres of patches.
    position_class = PositionMLP
    renamed = {"class_token": "use_class_token"}

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
        use_class_token=True,
        qkv_bias=False,
        extra_channels=0,
        peft=None,
        dtype=None,
        **kwargs,
    ):
        positive_integer("dim", dim)
        token_dim = self.usual_token_dim if token_dim is None else token_dim

        # === Functional Model ===
        points, *cloud = cloud_inputs(extra_channels)
        front = ClassTokens(dim, dtype=dtype, name="class_tokens")
        stage = Stage(
            PointPatches(num_groups, group_size, skip_origin, name="patches"),
            self.position_class(dim, dtype=dtype, name="position"),
            dim,
            depth,
            encoder_dims,
            token_dim,
            front=(front,) if use_class_token else (),
        )
        parts = Assembly(
            [stage],
            int(use_class_token),
            peft,
            dtype,
            drop_path_rate,
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
        self.num_groups = num_groups
        self.group_size = group_size
        self.dim = dim
        self.depth = depth
        self.num_heads = num_heads
        self.encoder_dims = tuple(encoder_dims)
        self.drop_path_rate = drop_path_rate
        self.skip_origin = skip_origin
        self.token_dim = token_dim
        self.use_class_token = use_class_token
        self.qkv_bias = qkv_bias
        self.extra_channels = extra_channels
        self.num_class_tokens = int(use_class_token)


@serializable
class PointMAEBackbone(PlainBackbone):
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
        token_dim: optional int. Width of the patch encoder's output, by
            default `dim`. Another width adds a linear layer after it.
        use_class_token: bool. Whether there is a class token. The published
            segmentation models of Point-MAE and ACT have none.
        qkv_bias: bool. Whether queries, keys and values have a bias. The
            published models have none; one that `SSF` was merged into does.
        extra_channels: int. How many numbers each point has behind its
            coordinates, such as colour (0 to 1), normals or intensity. They
            are added to the first layer of the patch encoder, see
            `keras_pointpeft.layers.PatchChannels`, whose kernel starts at
            zero and trains with the method: pre-trained weights load as ever.
        peft: optional `keras_pointpeft.peft.PeftMethod`. Without one, all
            parameters train.
        dtype: optional dtype or `keras.DTypePolicy`. Geometry stays float32.

    Input shape:
        `(batch, points, 3 + extra_channels)`.

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


@serializable
class ACTBackbone(PlainBackbone):
    """The transformer of ACT.

    [Autoencoders as Cross-Modal Teachers: Can Pretrained 2D Image
    Transformers Help 3D Representation
    Learning?](https://arxiv.org/abs/2212.08320). The transformer is
    Point-MAE's; what it has learned differs: the features of a tokenizer
    that was itself made from a transformer for images.

    Args:
        **kwargs: the arguments of `PointMAEBackbone`.

    Input shape:
        `(batch, points, 3 + extra_channels)`.

    Output shape:
        dict of tensors, as of `PointMAEBackbone`.

    Example:
    ```python
    backbone = keras_pointpeft.models.ACTBackbone(
        num_groups=32, group_size=16, dim=96, depth=3, num_heads=6
    )
    tokens = backbone(np.random.rand(2, 512, 3))["patch_tokens"]
    ```
    """


@serializable
class PointBERTBackbone(PlainBackbone):
    """The transformer of Point-BERT.

    [Point-BERT: Pre-training 3D Point Cloud Transformers with Masked Point
    Modeling](https://arxiv.org/abs/2111.14819). The transformer is
    Point-MAE's; its patch encoder, which comes from a discrete autoencoder,
    is 256 wide, and a linear layer takes its output to the width of the
    tokens. Its head has two layers and no BatchNorm.

    Args:
        token_dim: optional int. Width of the patch encoder's output, by
            default 256. If it is not `dim`, a linear layer follows.
        **kwargs: the other arguments of `PointMAEBackbone`.

    Input shape:
        `(batch, points, 3 + extra_channels)`.

    Output shape:
        dict of tensors, as of `PointMAEBackbone`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointBERTBackbone(
        num_groups=32, group_size=16, dim=96, depth=3, num_heads=6
    )
    tokens = backbone(np.random.rand(2, 512, 3))["patch_tokens"]
    ```
    """

    usual_token_dim = 256
    head_dims = (256,)
    head_norm = False
    decoder = "graph"


@serializable
class PCPMAEBackbone(PlainBackbone):
    """The transformer of PCP-MAE.

    [PCP-MAE: Learning to Predict Centers for Point Masked
    Autoencoders](https://arxiv.org/abs/2408.08753). The transformer is
    Point-MAE's; positions are a fixed code of the patch centres behind a
    wider MLP, see `keras_pointpeft.layers.CodedPositionMLP`, so that the two
    do not take each other's weights.

    Args:
        **kwargs: the arguments of `PointMAEBackbone`; `dim` must be divisible
            by 6.

    Input shape:
        `(batch, points, 3 + extra_channels)`.

    Output shape:
        dict of tensors, as of `PointMAEBackbone`.

    Raises:
        ValueError: if `dim` is not divisible by 6.

    Example:
    ```python
    backbone = keras_pointpeft.models.PCPMAEBackbone(
        num_groups=32, group_size=16, dim=96, depth=3, num_heads=6
    )
    tokens = backbone(np.random.rand(2, 512, 3))["patch_tokens"]
    ```
    """

    position_class = CodedPositionMLP


@serializable
class PointPQAEBackbone(PlainBackbone):
    """The transformer of Point-PQAE.

    [Towards More Diverse and Challenging Pre-training for Point Cloud
    Learning: Self-Supervised Cross Reconstruction with Decoupled
    Views](https://arxiv.org/abs/2509.01250). The transformer is Point-MAE's;
    what it has learned differs: to rebuild one view of a cloud from another.

    Args:
        **kwargs: the arguments of `PointMAEBackbone`.

    Input shape:
        `(batch, points, 3 + extra_channels)`.

    Output shape:
        dict of tensors, as of `PointMAEBackbone`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointPQAEBackbone(
        num_groups=32, group_size=16, dim=96, depth=3, num_heads=6
    )
    tokens = backbone(np.random.rand(2, 512, 3))["patch_tokens"]
    ```
    """
