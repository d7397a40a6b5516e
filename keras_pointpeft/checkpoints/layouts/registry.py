"""Which published names a model's variables have."""

from keras_pointpeft.checkpoints.layouts import act
from keras_pointpeft.checkpoints.layouts import point_bert
from keras_pointpeft.checkpoints.layouts import point_gpt
from keras_pointpeft.checkpoints.layouts import point_m2ae
from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.layouts import recon
from keras_pointpeft.checkpoints.names import NameMap

# By the backbone's class; a function of the backbone where its size matters.
TRUNKS = {
    "ACTBackbone": lambda backbone: act.ACT,
    "PointBERTBackbone": lambda backbone: point_bert.POINT_BERT,
    "PointGPTBackbone": point_gpt.names_for,
    "PointM2AEBackbone": point_m2ae.classifier_names,
    "PointMAEBackbone": lambda backbone: act.ACT,
    "ReConBackbone": lambda backbone: recon.RECON,
}
# By the method's class, and by the backbone's where that matters.
METHODS = {
    "DAPT": point_mae.DAPT,
    ("DAPT", "PointGPTBackbone"): point_gpt.DAPT,
    "SideTuning": act.SIDE_TUNING,
}
# Which tensors tell that a method was at work, for messages.
METHOD_SIGNS = {
    "DAPT": r"Adapter_MLP\.|adapt_mlp\.|tfts_gamma",
    "IDPT": r"^prompt_pos$",
    "Point-PEFT": r"cp_adapter|^prompt_cor$|adapter1\.",
    "PointGST": r"\.adapt1\.",
    "PointLoRA": r"lora_A",
    "PPT": r"prompt_all_mlp",
    "side tuning": r"^side_alpha$",
    "VPT": r"^cls_prompt_list\.",
}


def published_names(model):
    """The published classifier's name of every variable.

    Args:
        model: a backbone, or a task with one.

    Returns:
        A `NameMap`.

    Raises:
        ValueError: if no layout is known for the backbone or its method.
    """
    backbone = getattr(model, "backbone", model)
    kind = type(backbone).__name__
    if kind not in TRUNKS:
        raise ValueError(
            f"Published checkpoints are known for {sorted(TRUNKS)}. "
            f"Received: a {kind}"
        )
    names = TRUNKS[kind](backbone)
    method = type(backbone.peft).__name__
    for key in ((method, kind), method):
        if key in METHODS:
            names = names | METHODS[key]
            break
    if hasattr(model, "head_dims") and model is not backbone:
        start = "blocks." if kind == "PointGPTBackbone" else ""
        names = names | head_names(model, f"{start}cls_head_finetune")
    return names


def head_names(task, theirs):
    """Names of a head, whose layers the published code numbers in a row."""
    count = len(task.head_dims)
    # Linear, norm if there is one, ReLU and dropout.
    stride = 4 if task.head_norm else 3
    modules = {r"head/logits": f"{theirs}.{count * stride}"}
    for i in range(count):
        modules[f"head/fc{i + 1}"] = f"{theirs}.{i * stride}"
        modules[f"head/norm{i + 1}"] = f"{theirs}.{i * stride + 1}"
    return NameMap(modules, {})
