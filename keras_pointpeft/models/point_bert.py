from keras_pointpeft.models.plain import PlainBackbone
from keras_pointpeft.serialization import serializable


@serializable
class PointBERTBackbone(PlainBackbone):
    """The transformer of Point-BERT.

    [Point-BERT: Pre-training 3D Point Cloud Transformers with Masked Point
    Modeling](https://arxiv.org/abs/2111.14819). The transformer is
    Point-MAE's; its patch encoder, which comes from a discrete autoencoder,
    is 256 wide, and a linear layer takes its output to the width of the
    tokens. Its head has two layers and no BatchNorm.

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
            default 256. If it is not `dim`, a linear layer follows.
        class_token: bool. Whether there is a class token.
        qkv_bias: bool. Whether queries, keys and values have a bias. The
            published models have none; one that `SSF` was merged into does.
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
