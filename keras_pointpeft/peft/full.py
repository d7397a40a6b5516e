from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.serialization import serializable


@serializable
class Full(PeftMethod):
    """Full fine-tuning: every parameter of the backbone trains.

    The yardstick of every parameter-efficient method. Adds nothing.

    Example:
    ```python
    backbone = keras_pointpeft.models.PointMAEBackbone(
        num_groups=32, group_size=16, peft=keras_pointpeft.peft.Full()
    )
    ```
    """

    trained = (r"",)
    replaces_base = True
    adds_nothing = True

    def __init__(self):
        super().__init__("track")

    def merged(self, partial=False):
        return None
