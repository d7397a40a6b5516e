from keras_pointpeft.layers import CodedPositionMLP
from keras_pointpeft.models.point_mae import PlainBackbone
from keras_pointpeft.serialization import serializable


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
        `(batch, points, 3)`.

    Output shape:
        dict of `"class_tokens"` `(batch, 1, dim)`, `"patch_tokens"`
        `(batch, num_groups, dim)`, `"centers"` `(batch, num_groups, 3)` and,
        if the method keeps prompts, `"prompt_tokens"`
        `(batch, prompts, dim)`.

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
