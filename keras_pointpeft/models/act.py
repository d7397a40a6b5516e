from keras_pointpeft.models.plain import PlainBackbone
from keras_pointpeft.serialization import serializable


@serializable
class ACTBackbone(PlainBackbone):
    """The transformer of ACT.

    [Autoencoders as Cross-Modal Teachers: Can Pretrained 2D Image
    Transformers Help 3D Representation
    Learning?](https://arxiv.org/abs/2212.08320). The transformer is
    Point-MAE's; what it has learned differs: the features of a tokenizer
    that was itself made from a transformer for images.

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
        class_token: bool. Whether there is a class token. The published
            segmentation models of Point-MAE and ACT have none.
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
    backbone = keras_pointpeft.models.ACTBackbone(
        num_groups=32, group_size=16, dim=96, depth=3, num_heads=6
    )
    tokens = backbone(np.random.rand(2, 512, 3))["patch_tokens"]
    ```
    """
