"""Names of DAPT's published versions of Point-MAE and PointGPT."""

from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_method
from keras_pointpeft.checkpoints.names import NameMap

ADAPTER = {
    "norm": "adapter_layer_norm_before",
    "scale": "scale",
    "down": "down_proj",
    "up": "up_proj",
}
# Scales and shifts, ours by the layer behind which they stand, theirs by
# number.
TRANSFORMS = {
    "block_{i}/tuner/norm1": "blocks.blocks.{i}.tfts_*_1",
    "block_{i}/tuner/norm2": "blocks.blocks.{i}.tfts_*_2",
    "block_{i}/tuner/prompt/transform": "blocks.blocks.{i}.tfts_*_3",
    "block_{i}/tuner/qkv": "blocks.blocks.{i}.attn.tfts_*_1",
    "block_{i}/tuner/proj": "blocks.blocks.{i}.attn.tfts_*_2",
    "block_{i}/tuner/fc1": "blocks.blocks.{i}.mlp.tfts_*_1",
    "block_{i}/tuner/fc2": "blocks.blocks.{i}.mlp.tfts_*_2",
    "tuner_patches": "tfts_*_1",
    "tuner_norm": "tfts_*_2",
}
GPT_TRANSFORMS = {
    "block_{i}/tuner/norm1": "blocks.layers.{i}.tfts_*_1",
    "block_{i}/tuner/norm2": "blocks.layers.{i}.tfts_*_2",
    "block_{i}/tuner/prompt/transform": "blocks.layers.{i}.tfts_*_3",
    "block_{i}/tuner/fc1": "blocks.layers.{i}.tfts_*_4",
    "block_{i}/tuner/fc2": "blocks.layers.{i}.tfts_*_5",
}


def _layout(adapter, transforms):
    return Layout(
        NameMap(
            {
                f"block_{{i}}/tuner/adapter/{ours}": f"{adapter}.{theirs}"
                for ours, theirs in ADAPTER.items()
            },
            {
                f"{ours}/{leaf}": theirs.replace("*", leaf)
                for ours, theirs in transforms.items()
                for leaf in ("gamma", "beta")
            },
        )
    )


ON_POINT_MAE = _layout("blocks.blocks.{i}.Adapter_MLP", TRANSFORMS)
ON_POINT_GPT = _layout("blocks.layers.{i}.adapt_mlp", GPT_TRANSFORMS)


def layout(model):
    backbone = getattr(model, "backbone", model)
    peft = backbone.peft
    if not (peft.dynamic_scale and peft.internal_prompts):
        raise ValueError(
            "Published files have the weights of scales and prompts. Read and "
            "write them with `DAPT(dynamic_scale=True, internal_prompts=True)`"
            f". Received: dynamic_scale={peft.dynamic_scale}, "
            f"internal_prompts={peft.internal_prompts}"
        )
    step = peft.scale_step
    if step != 1:
        raise ValueError(
            "Published files have the weights of the scales as they are; under "
            "`scale_step` they are kept divided by it. Read and write such "
            "files with `DAPT(scale_step=1)`. "
            f"Received: scale_step={step!r}"
        )
    causal = type(backbone).__name__ == "PointGPTBackbone"
    return ON_POINT_GPT if causal else ON_POINT_MAE


register_method(
    "DAPT", "DAPT", layout, r"Adapter_MLP\.|adapt_mlp\.|tfts_gamma"
)
