"""Names of MoST's published version of PointGPT."""

import numpy as np

from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.names import NameMap

# Both sides of the table's rows, of the trunk and of the generation branch.
PARTS = (("", "blocks"), ("generator/", "generator_blocks"))
PARAMETERS = {
    "gain_in": "spatial_smooth_in.knorm.weight",
    "gain_out": "spatial_smooth_out.knorm.weight",
    "monarch/factor1": "monarch_linear.blkdiag1",
    "monarch/factor2": "monarch_linear.blkdiag2",
    "monarch/bias": "monarch_linear.bias",
}
NORM = ".layers.{i}.point_monarch.spatial_smooth_{side}.ln."


def _unread(model):
    backbone = getattr(model, "backbone", model)
    state = {}
    depths = (backbone.depth, backbone.generator_depth)
    for (_, theirs), depth in zip(PARTS, depths):
        for i in range(depth):
            for side in ("in", "out"):
                name = theirs + NORM.format(i=i, side=side)
                state[f"{name}weight"] = np.ones(backbone.dim)
                state[f"{name}bias"] = np.zeros(backbone.dim)
    return state


ON_POINT_GPT = Layout(
    NameMap(
        {"tuner_fusion/norm": "blocks.cls_token_norm"},
        {
            f"{ours}block_{{i}}/tuner/{k}": (
                f"{theirs}.layers.{{i}}.point_monarch.{v}"
            )
            for ours, theirs in PARTS
            for k, v in PARAMETERS.items()
        },
    ),
    unread={
        r"\.point_monarch\.spatial_smooth_(in|out)\.ln\.": (
            "the published branch does not read it"
        )
    },
    extra=(_unread,),
)


def layout(model):
    """Of PointGPT; MoST was published for no other backbone."""
    backbone = getattr(model, "backbone", model)
    if type(backbone).__name__ == "PointGPTBackbone":
        return ON_POINT_GPT
    return Layout(NameMap({}))


register_method(
    "MoST", "MoST", layout, r"\.point_monarch\.", mode={"reference": True}
)
