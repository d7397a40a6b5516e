"""Names of the published segmentation models, beside their backbones'."""

from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_task
from keras_pointpeft.checkpoints.layouts.registry import trunk_of
from keras_pointpeft.checkpoints.names import NameMap

# Found in the name of a tensor of a head.
HEAD = (
    r"^(convs?\d|bns?\d|label_conv|propagations?[._]|dgcnn_pro_\d|"
    r"h_encoder\.encoder_norms\.)"
)


def _propagation(ours, theirs):
    return {
        f"{ours}/fc1": f"{theirs}.mlp_convs.0",
        f"{ours}/fc2": f"{theirs}.mlp_convs.1",
        f"{ours}/norm1": f"{theirs}.mlp_bns.0",
        f"{ours}/norm2": f"{theirs}.mlp_bns.1",
    }


def _rest(hidden, suffix=""):
    """Head with so many hidden layers, and the category's feature."""
    names = {
        "head/logits": f"convs{hidden + 1}{suffix}",
        "category_feature/fc": f"label_conv{suffix}.0",
        "category_feature/norm": f"label_conv{suffix}.1",
    }
    for i in range(1, hidden + 1):
        names[f"head/fc{i}"] = f"convs{i}{suffix}"
        names[f"head/norm{i}"] = f"bns{i}{suffix}"
    return names


# All linear layers are convolutions of [out, in, 1].
AXES = {
    r"(^|\.)convs?\d(_cls)?\.weight$": 3,
    r"mlp_convs\.\d\.weight$": 3,
    r"^label_conv(_cls)?\.0\.weight$": 3,
}
# Point-MAE, ReCon, PointGPT, whose tokens have a norm of their own.
TOKENS = Layout(
    NameMap(
        {
            **_propagation("propagation", "propagation_0"),
            **_rest(2),
            "dense_norm": "norm",
        }
    ),
    axes=AXES,
)
# ACT, and what was built upon it.
TOKENS_CLS = Layout(
    NameMap(
        {
            **_propagation("propagation", "propagation_0_cls"),
            **_rest(2, "_cls"),
        }
    ),
    axes=AXES,
)
# Point-M2AE.
STAGES = Layout(
    NameMap(
        {
            **_propagation("propagation_{i}", "propagations.{i}"),
            **_rest(3),
            "dense_norm_{i}": "h_encoder.encoder_norms.{i}",
            "norm": "h_encoder.encoder_norms.2",
        }
    ),
    axes=AXES,
)
# Point-BERT.
GRAPH = Layout(
    NameMap(
        {
            **_propagation("propagation_{i}", "propagation_{i}"),
            "graph_{i}/fc{j}": "dgcnn_pro_{i}.layer{j}.0",
            "graph_{i}/norm{j}": "dgcnn_pro_{i}.layer{j}.1",
            "head/fc1": "conv1",
            "head/norm1": "bn1",
            "head/logits": "conv2",
        }
    ),
    axes={**AXES, r"^dgcnn_pro_\d\.layer\d\.0\.weight$": 4},
)


@register_task("PartSegmenter", "SemanticSegmenter")
def segmenter(task, base):
    """What the backbone's published segmentation model has beside it."""
    published = trunk_of(task).segmentation
    return base if published is None else base | published
