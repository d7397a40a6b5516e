from keras_pointpeft.peft.method import PeftMethod
from keras_pointpeft.peft.method import check_frozen_bn
from keras_pointpeft.serialization import serializable


@serializable
class LinearProbe(PeftMethod):
    """Linear probing: the backbone is frozen and the head alone trains.

    Args:
        frozen_bn: `"inference"` or `"track"`. What the frozen BatchNorms of
            the patch encoder do in training: keep to their moving
            statistics, or use and follow those of the batch.
    """

    config_names = ("frozen_bn",)
    trained = ()

    def __init__(self, frozen_bn="inference"):
        self.frozen_bn = check_frozen_bn(frozen_bn)
