"""Methods and models that build and run in no time."""

from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.peft import DAPT
from keras_pointpeft.peft import Full
from keras_pointpeft.peft import LinearProbe
from keras_pointpeft.peft import PointPEFT

# Of a plain backbone.
SIZES = {
    "num_groups": 8,
    "group_size": 8,
    "dim": 24,
    "depth": 2,
    "num_heads": 3,
    "encoder_dims": (8, 12, 16),
}
METHODS = {
    "dapt": lambda: DAPT(rank=4, dropout=0.1),
    "dapt_track": lambda: DAPT(rank=4, frozen_bn="track"),
    "full": Full,
    "linear": LinearProbe,
    "pointpeft": lambda: PointPEFT(
        prior=False, prompt_blocks=1, num_prompts=4, adapter_rank=4
    ),
}


def small_backbone(peft=None, **kwargs):
    """A backbone that builds and runs in no time."""
    return PointMAEBackbone(peft=peft, **{**SIZES, **kwargs})


def small_classifier(peft=None, num_classes=3, **kwargs):
    return PointCloudClassifier(
        small_backbone(peft, **kwargs), num_classes, head_dims=(16,)
    )
