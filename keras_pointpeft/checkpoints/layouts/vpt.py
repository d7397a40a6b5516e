"""Names of VPT's version of Point-MAE, published with IDPT."""

from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.names import NameMap

VPT = Layout(
    NameMap(
        {},
        {
            "block_{i}/tuner/embeddings": "cls_prompt_list.{i}",
            "block_{i}/tuner/positions": "cls_prompt_pos_list.{i}",
        },
    ),
    # The published prompts have a batch axis of 1 in front.
    axes={r"^cls_prompt_(pos_)?list\.": 3},
)
register_method("VPT", "VPT", VPT, r"^cls_prompt_list\.")
