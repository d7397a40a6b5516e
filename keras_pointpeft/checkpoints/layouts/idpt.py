"""Names of IDPT's published versions of Point-MAE."""

import numpy as np

from keras_pointpeft.checkpoints.layouts.point_mae import BLOCK
from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.layouts.segmentation import TOKENS_CLS
from keras_pointpeft.checkpoints.names import NameMap

PROMPT = "tuner_sequence/prompt"
# Modules that use a second norm and leave the first one unused.
SMALL = ("dgcnn_light", "mlp")
UNUSED = "no published module of this kind uses it"

CLASSIFIER = Layout(
    NameMap(
        {
            f"{PROMPT}/edge{{i}}/linear": "blocks.cls.conv{i}.0",
            f"{PROMPT}/edge{{i}}/norm": "blocks.cls.bn{i}",
            f"{PROMPT}/linear": "blocks.cls.conv5.0",
            f"{PROMPT}/norm": "blocks.cls.bn5",
            **{
                f"{PROMPT}/block/{ours}": f"blocks.cls.blocks.blocks.0.{theirs}"
                for ours, theirs in BLOCK.items()
            },
        },
        {"tuner_sequence/position": "prompt_pos"},
    ),
    # A norm is registered beside its convolution, and again behind it.
    aliases={"blocks.cls.conv{i}.1.{leaf}": "blocks.cls.bn{i}.{leaf}"},
    axes={
        r"^blocks\.cls\.conv[123]\.0\.weight$": 4,
        r"^blocks\.cls\.conv5\.0\.weight$": 3,
        r"^prompt_(cls_)?pos$": 3,
    },
)
PARTS = TOKENS_CLS | Layout(
    NameMap(
        {
            "tuner_passing_{i}/linear": "blocks.dgcnn_cls{i}.conv5.0",
            "tuner_passing_{i}/norm": "blocks.dgcnn_cls{i}.conv5.1",
        },
        {"tuner_passing_position_0/position": "prompt_cls_pos"},
    ),
    unread={r"^blocks\.dgcnn_cls\d+\.bn5\.": UNUSED},
    axes={
        r"^blocks\.dgcnn_cls\d+\.conv5\.0\.weight$": 3,
        r"^prompt_cls_pos$": 3,
    },
)


def _norm(prefix, dim):
    return {
        f"{prefix}.weight": np.ones(dim),
        f"{prefix}.bias": np.zeros(dim),
        f"{prefix}.running_mean": np.zeros(dim),
        f"{prefix}.running_var": np.ones(dim),
    }


# The small modules' norm stands behind their last convolution.
OWN_NORM = Layout(
    NameMap({f"{PROMPT}/norm": "blocks.cls.conv5.1"}),
    unread={r"^blocks\.cls\.bn5\.": UNUSED},
    extra=(lambda model: _norm("blocks.cls.bn5", model.backbone.dim),),
)


def layout(model):
    if hasattr(model, "dense"):
        return PARTS
    backbone = getattr(model, "backbone", model)
    if backbone.peft.module not in SMALL:
        return CLASSIFIER
    return CLASSIFIER | OWN_NORM


register_method(
    "IDPT", "IDPT", layout, r"^prompt_(cls_)?pos$", mode={"reference": True}
)
