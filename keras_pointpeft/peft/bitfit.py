from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.serialization import serializable


@serializable
class BitFit(PeftMethod):
    """Trains the biases, those of norms included, and the class token.

    [BitFit](https://arxiv.org/abs/2106.10199), as
    [ACT](https://arxiv.org/abs/2212.08320) applies it to point clouds. Adds
    nothing to the backbone.

    Args:
        frozen_bn: `"inference"` or `"track"`, see `PeftMethod`.

    Example:
    ```python
    backbone = keras_pointpeft.models.ACTBackbone(
        peft=keras_pointpeft.peft.BitFit()
    )
    ```
    """

    trained = (r"(^|/)(bias|beta)$", r"(^|/)class_tokens/")
    adds_nothing = True
    components = {
        "class token": r"(^|/)class_tokens/",
        "biases": r"(^|/)(bias|beta)$",
    }

    def __init__(self, frozen_bn="inference"):
        super().__init__(frozen_bn)

    def merged(self, partial=False):
        return None
