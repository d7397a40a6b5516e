"""Recorded cases of further methods, on Point-MAE and PointGPT."""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointGPTBackbone
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.peft import IDPT
from keras_pointpeft.peft import PPT
from keras_pointpeft.peft import VPT
from keras_pointpeft.peft import GAPrompt
from keras_pointpeft.peft import PointGST
from keras_pointpeft.peft import PointLoRA
from keras_pointpeft.verification.case import backbone_arguments
from keras_pointpeft.verification.case import case
from keras_pointpeft.verification.cases_point_peft import outputs_of
from keras_pointpeft.verification.family import check_classifier
from keras_pointpeft.verification.gradients import forward


def point_mae_classifier(config, peft, **kwargs):
    backbone = PointMAEBackbone(peft=peft, **backbone_arguments(config))
    return PointCloudClassifier(
        backbone, config["cls_dim"], dropout=0.0, **kwargs
    )


def prompts_last(num_patches, num_prompts):
    """Where the tokens stand if prompts are behind the patches."""
    prompts = range(1, 1 + num_prompts)
    return [0, *range(1 + num_prompts, 1 + num_prompts + num_patches), *prompts]


def more_tokens(backbone, index):
    """The tokens of one set of further patches, and the patches."""
    patches = outputs_of(backbone.get_layer(f"more_patches_{index}"))
    encoder = backbone.get_layer("patch_encoder")
    return encoder(patches["neighborhoods"]), patches


@case("vptdeep_pointmae_*")
def vpt_deep(recorded):
    config = recorded.config
    peft = VPT(config["prompt_nums"], frozen_bn="track")
    model = point_mae_classifier(config, peft)
    # The published prompts stay in the sequence until the next block.
    tokens = config["num_group"] + 1
    check_classifier(recorded, model, shown=tokens)


READS = {
    "all": "all",
    "promptcls": "prompt_and_class",
    "pointcls": "patches_and_class",
    "promptonly": "prompt",
}


@case("idpt_*_tiny")
@case("idpt_pointmae_full")
def instance_prompt(recorded):
    config = recorded.config
    module = config["prompt_module"]
    peft = IDPT(
        prompt_block=config["prompt_layer"],
        module=module,
        num_heads=config["num_heads"],
        reads=READS[config["cls_type"]],
        reference=True,
        frozen_bn="track",
    )
    model = point_mae_classifier(config, peft)
    sequence = model.backbone.get_layer("tuner_sequence")
    check_classifier(
        recorded,
        model,
        prompt=sequence.output[0][:, 1:2],
        pos_embed=model.backbone.get_layer("position").output,
    )


@case("ppt_pointmae_*")
def positional_prompts(recorded):
    config = recorded.config
    peft = PPT(
        config["prompt_num_group"],
        config["prompt_group_size"],
        frozen_bn="track",
    )
    model = point_mae_classifier(config, peft, head_activation="gelu")
    backbone = model.backbone
    prompts, patches = more_tokens(backbone, 0)
    check_classifier(
        recorded,
        model,
        order=prompts_last(config["num_group"], config["prompt_num_group"]),
        patch_tokens_0=backbone.get_layer("patch_encoder").output,
        patch_tokens_1=prompts,
    )
    check_more_patches(recorded, backbone, [patches])


@case("pointlora_*")
def scales_and_updates(recorded):
    peft = PointLoRA(reference=True, frozen_bn="track")
    model = point_mae_classifier(recorded.config, peft)
    backbone = model.backbone
    selection = backbone.get_layer("tuner_sequence")
    tokens, patches = zip(*(more_tokens(backbone, i) for i in (0, 1)))
    scores = [selection.predictor(x) for x in tokens]
    check_classifier(
        recorded,
        model,
        order=prompts_last(128, 40),
        patch_tokens_0=backbone.get_layer("patch_encoder").output,
        patch_tokens_1=tokens[0],
        patch_tokens_2=tokens[1],
        mask_prob_0=scores[0],
        mask_prob_1=scores[1],
    )
    check_more_patches(recorded, backbone, patches)
    parts = [ops.top_k(x, k)[1] for x, k in zip(scores, (32, 8))]
    parts = keras.Model(backbone.input, parts)(recorded.data["points"])
    for i, index in enumerate(parts):
        recorded.equal_arrays(f"select{i}", index)


@case("pointgst_*")
def spectral_adapters(recorded):
    config = recorded.config
    peft = PointGST(
        config["rank"], config["local"], reference=True, frozen_bn="track"
    )
    if recorded.name.startswith("pointgst_pointgpt"):
        backbone = PointGPTBackbone(peft=peft, **backbone_arguments(config))
        model = PointCloudClassifier(backbone, config["cls_dim"], dropout=0.0)
    else:
        model = point_mae_classifier(config, peft)
        backbone = model.backbone
    spectral = outputs_of(backbone.get_layer("tuner_geometry"))
    found = keras.Model(backbone.input, spectral)
    found = forward(found, recorded.data["points"])
    found = {name: ops.convert_to_numpy(x) for name, x in found.items()}
    recorded.equal_arrays("z_order0", found["order"])
    # Signs of eigenvectors are arbitrary, and the results depend on them.
    for name, array in (("basis", "basis_U"), ("local_basis", "basis_subU")):
        theirs = recorded.data[array]
        ours = found[name].reshape(theirs.shape)
        # Distances among more points were published with the rounding errors
        # of a matrix product, which the smallest of them was then one of.
        if theirs.shape[-1] <= 25:
            same = np.sign(np.sum(ours * theirs, axis=1, keepdims=True))
            recorded.close(array, ours, BASIS, theirs * same)
        found[name] = theirs.reshape((-1, *spectral[name].shape[1:]))
    injected = [(spectral[name], found[name]) for name in spectral]
    check_classifier(recorded, model, injected=injected)


# Eigenvectors of float32 matrices, where neighbouring values are close.
BASIS = 2e-3


def check_more_patches(recorded, backbone, patches):
    """Compares which points the further patches have."""
    neighbors = {
        f"knn{i + 1}": found["neighbors"] for i, found in enumerate(patches)
    }
    values = keras.Model(backbone.input, neighbors)(recorded.data["points"])
    for name, value in values.items():
        recorded.same_sets(name, value)


@case("gaprompt_*")
def geometry_aware_prompts(recorded):
    config = recorded.config
    propagation, place, _ = config["propagation_type"].split("_")
    peft = GAPrompt(
        num_points=config["point_number"],
        point_scale=config["scale"],
        point_factor=config["factor"],
        perturbation=config["perturbation"],
        num_prompts=config["num_tokens"],
        prompt_blocks=config["prompt_depth"],
        adapter_rank=config["adapter_config"]["adapter_dim"],
        propagation=propagation,
        before_attention=place == "before",
        reference=True,
        frozen_bn="track",
    )
    model = point_mae_classifier(config, peft)
    backbone, data = model.backbone, recorded.data
    cloud = outputs_of(backbone.get_layer("tuner_cloud"))
    geometry = backbone.output["prompt_tokens"]
    check_classifier(
        recorded,
        model,
        shift_out=cloud["points"][:, : data["points"].shape[1]],
        shape_feature=geometry[:, 0],
    )
