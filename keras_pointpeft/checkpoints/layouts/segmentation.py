"""Names of the published segmentation models, beside their backbones'."""

from keras_pointpeft.checkpoints.names import NameMap


def _propagation(ours, theirs):
    return {rf"{ours}/fc{i + 1}": f"{theirs}.mlp_convs.{i}" for i in (0, 1)} | {
        rf"{ours}/norm{i + 1}": f"{theirs}.mlp_bns.{i}" for i in (0, 1)
    }


def _propagations(theirs):
    """Those of three levels; `theirs` has a place for the level's number."""
    levels = (_propagation(f"propagation_{i}", theirs.format(i)) for i in "012")
    return {k: name for names in levels for k, name in names.items()}


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


# Point-MAE, ReCon, PointGPT, whose tokens have a norm of their own.
TOKENS = NameMap(
    {
        **_propagation("propagation", "propagation_0"),
        **_rest(2),
        "dense_norm": "norm",
    },
    {},
)
# ACT, and what was built upon it.
TOKENS_CLS = NameMap(
    {
        **_propagation("propagation", "propagation_0_cls"),
        **_rest(2, "_cls"),
    },
    {},
)

# Point-M2AE.
STAGES = NameMap(
    {
        **_propagations("propagations.{}"),
        **_rest(3),
        r"dense_norm_(\d)": r"h_encoder.encoder_norms.\1",
        "norm": "h_encoder.encoder_norms.2",
    },
    {},
)

# Point-BERT.
GRAPH = NameMap(
    {
        **_propagations("propagation_{}"),
        r"graph_(\d)/fc(\d)": r"dgcnn_pro_\1.layer\2.0",
        r"graph_(\d)/norm(\d)": r"dgcnn_pro_\1.layer\2.1",
        "head/fc1": "conv1",
        "head/norm1": "bn1",
        "head/logits": "conv2",
    },
    {},
)
