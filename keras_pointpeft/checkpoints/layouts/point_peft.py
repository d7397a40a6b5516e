"""Names of Point-PEFT's published versions of Point-MAE and Point-M2AE."""

import numpy as np

from keras_pointpeft.checkpoints.layouts.point_m2ae import encoder_names
from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.names import NameMap

BLOCK = "blocks.blocks.{i}"
TUNER = "block_{i}/tuner"

# What the method adds.
MODULES = {
    f"{TUNER}/prompt/adapter/down": f"{BLOCK}.cp_adapter.ln1",
    f"{TUNER}/prompt/adapter/up": f"{BLOCK}.cp_adapter.ln2",
    f"{TUNER}/mlp_adapter/down": f"{BLOCK}.adapter.ln1",
    f"{TUNER}/mlp_adapter/up": f"{BLOCK}.adapter.ln2",
    f"{TUNER}/block_adapter/down": f"{BLOCK}.adapter1.ln1",
    f"{TUNER}/block_adapter/up": f"{BLOCK}.adapter1.ln2",
    f"{TUNER}/geometry/norm": f"{BLOCK}.out_transform.0",
}
PARAMETERS = {
    f"{TUNER}/prompt/embeddings": f"{BLOCK}.prompt_embeddings",
    f"{TUNER}/gate": f"{BLOCK}.ad_gate",
    f"{TUNER}/attention_gate": f"{BLOCK}.attn.gate",
}
# Published code trains these in place; ours keeps the frozen ones, which the
# bank's query is made with, and learns differences.
DIFFERENCES = {
    f"{TUNER}/norm1_bias": f"{BLOCK}.norm1.bias",
    f"{TUNER}/norm2_bias": f"{BLOCK}.norm2.bias",
    f"{TUNER}/proj_bias": f"{BLOCK}.attn.proj.bias",
    f"{TUNER}/fc1_bias": f"{BLOCK}.mlp.fc1.bias",
    f"{TUNER}/fc2_bias": f"{BLOCK}.mlp.fc2.bias",
}
NORM = {
    "tuner_norm/gamma": "norm.weight",
    "tuner_norm/beta": "norm.bias",
}
# One local attention for all blocks, of a stage if there are stages.
SHARED = {
    "attention/norm": "norm3",
    "attention/qkv": "attn1.qkv",
    "attention/proj": "attn1.proj",
}
BANK = {r"tuner_prior/": "state, not a parameter: attach a bank"}

ON_POINT_MAE = Layout(
    NameMap(
        MODULES
        | {f"tuner_geometry/{k}": f"blocks.{v}" for k, v in SHARED.items()},
        PARAMETERS | {"tuner_geometry/prompt_coordinates": "prompt_cor"},
    ),
    differences=DIFFERENCES | NORM,
    axes={r"\.attn\.gate$": 4},
    initial=BANK,
)
# What the published version of Point-M2AE calls its encoder.
ENCODER = {
    "patch_encoder": "encoders.{i}",
    "position": "pos_embeds.{i}",
    "block": "blocks.{i}.blocks.{j}",
}


def on_point_m2ae(backbone):
    """The `Layout` of a Point-M2AE of this size."""
    modules, differences = {}, dict(NORM)
    parameters = {"tuner_geometry_0/prompt_coordinates": "prompt_cor"}
    for i in range(len(backbone.depths)):
        for j, number in enumerate(backbone.blocks_of(i)):

            def here(names):
                return {
                    ours.format(i=number): theirs.replace(
                        BLOCK, f"blocks.{i}.blocks.{j}"
                    )
                    for ours, theirs in names.items()
                }

            modules |= here(MODULES)
            parameters |= here(PARAMETERS)
            differences |= here(DIFFERENCES)
        modules |= {
            f"tuner_geometry_{i}/{k}": f"blocks.{i}.{v}"
            for k, v in SHARED.items()
        }
    return Layout(
        encoder_names(backbone, ENCODER) | NameMap(modules, parameters),
        differences=differences,
        initial=BANK,
    )


def layout(model):
    backbone = getattr(model, "backbone", model)
    if type(backbone).__name__ == "PointM2AEBackbone":
        return on_point_m2ae(backbone)
    return ON_POINT_MAE


def mode(state):
    """How the version that left a file computes; see `PointPEFT`."""
    gates = [name for name in state if name.endswith(".attn.gate")]
    if gates:  # that of ModelNet40
        found = {
            "gated": True,
            "prompt_place": "attention",
            "prompt_blocks": len(gates),
        }
        down = state.get("blocks.blocks.0.cp_adapter.ln1.weight")
        return found if down is None else found | {"prior_rank": len(down)}
    if any(name.startswith("encoders.") for name in state):
        return {"gated": True, "reference": True}
    return {"reference": True}


def attach_bank(model, features):
    """Attaches a bank as the authors keep it.

    Args:
        model: a model with the method.
        features: array `(dim, entries)`, as their file has it.
    """
    from keras_pointpeft.peft.freezing import fingerprint
    from keras_pointpeft.peft.point_peft.bank import PriorBank

    features = np.ascontiguousarray(np.asarray(features, "float32").T)
    recipe = {"source": "published", "entries": len(features)}
    PriorBank(features, fingerprint(model.backbone), recipe).attach(model)


register_method(
    "PointPEFT",
    "Point-PEFT",
    layout,
    r"cp_adapter|\.adapter1\.",
    mode,
)
