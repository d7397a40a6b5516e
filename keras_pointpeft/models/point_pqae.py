from keras_pointpeft.models.point_mae import PlainBackbone
from keras_pointpeft.serialization import serializable


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
        `(batch, points, 3)`.

    Output shape:
        dict of `"class_tokens"` `(batch, 1, dim)`, `"patch_tokens"`
        `(batch, num_groups, dim)`, `"centers"` `(batch, num_groups, 3)` and,
        if the method keeps prompts, `"prompt_tokens"`
        `(batch, prompts, dim)`.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointPQAEBackbone(
        num_groups=32, group_size=16, dim=96, depth=3, num_heads=6
    )
    tokens = backbone(np.random.rand(2, 512, 3))["patch_tokens"]
    ```
    """
