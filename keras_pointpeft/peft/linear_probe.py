from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.serialization import serializable


@serializable
class LinearProbe(PeftMethod):
    """Linear probing: the backbone is frozen and the head alone trains.

    Where points have more than their place, `extra_channels`, the kernel that
    reads it trains too: it starts at nothing, under every method.

    Args:
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.
        train_class_token: bool. Whether the class token and its position train
            too, as in the published runs of
            [ACT](https://arxiv.org/abs/2212.08320) and
            [ReCon](https://arxiv.org/abs/2302.02318), where it comes with
            their linear and their three-layer heads.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=32, group_size=16, peft=keras_pointpeft.peft.LinearProbe()
    )
    ```
    """

    renamed = {"class_token": "train_class_token"}
    adds_nothing = True
    components = {"class token": r"(^|/)class_tokens/"}

    def __init__(self, frozen_bn="inference", train_class_token=False):
        super().__init__(frozen_bn)
        self.train_class_token = train_class_token

    @property
    def trained(self):
        return (r"(^|/)class_tokens/",) if self.train_class_token else ()

    def merged(self, partial=False):
        return None
