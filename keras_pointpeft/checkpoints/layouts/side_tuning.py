"""Names of the side network that ACT's authors train beside their model."""

from keras_pointpeft.checkpoints.layouts.point_mae import PATCH_ENCODER
from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.names import NameMap

SIDE = Layout(
    NameMap(
        {
            **{
                ours.replace("patch_encoder", "tuner_side/encoder"): (
                    theirs.replace("encoder", "side", 1)
                )
                for ours, theirs in PATCH_ENCODER.items()
            },
            "tuner_side/projection": "side_projection",
        },
        {"tuner_side/alpha": "side_alpha"},
    )
)
register_method("SideTuning", "side tuning", SIDE, r"^side_alpha$")
