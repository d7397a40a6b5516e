"""Names of pre-training models, and what their recorded cases compare."""

import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts import point_gpt
from keras_pointpeft.checkpoints.layouts import point_mae
from keras_pointpeft.checkpoints.names import NameMap
from keras_pointpeft.checkpoints.transfer import fill
from keras_pointpeft.models.point_gpt import PointGPTBackbone
from keras_pointpeft.models.point_mae import PointMAEBackbone
from keras_pointpeft.models.pretraining.generative_pretrainer import (
    GenerativePretrainer,
)
from keras_pointpeft.models.pretraining.masked_autoencoder import (
    MaskedAutoencoder,
)
from keras_pointpeft.verification.case import LOSS
from keras_pointpeft.verification.case import TOKENS
from keras_pointpeft.verification.case import case
from keras_pointpeft.verification.family import check_counts
from keras_pointpeft.verification.family import check_gradients

ENCODER = {
    **point_mae.PATCH_ENCODER,
    **point_mae.POSITION,
    **point_mae.BLOCKS,
    r"norm": "norm",
}
DECODER = {
    r"\w+/decoder_position/fc1": "decoder_pos_embed.0",
    r"\w+/decoder_position/fc2": "decoder_pos_embed.2",
    r"\w+/decoder_block_(\d+)/(norm1|norm2)": r"MAE_decoder.blocks.\1.\2",
    r"\w+/decoder_block_(\d+)/(qkv|proj)": r"MAE_decoder.blocks.\1.attn.\2",
    r"\w+/decoder_block_(\d+)/(fc1|fc2)": r"MAE_decoder.blocks.\1.mlp.\2",
    r"\w+/decoder_norm": "MAE_decoder.norm",
    r"\w+/increase_dim": "increase_dim.0",
}

POINT_MAE_PRETRAINING = NameMap(
    {k: f"MAE_encoder.{name}" for k, name in ENCODER.items()} | DECODER,
    {r"\w+/mask_token": "mask_token"},
)


def masked_autoencoder(config):
    """Our model of a published pre-training configuration."""
    transformer = config["transformer_config"]
    backbone = PointMAEBackbone(
        num_groups=config["num_group"],
        group_size=config["group_size"],
        dim=transformer["trans_dim"],
        depth=transformer["depth"],
        num_heads=transformer["num_heads"],
        drop_path_rate=transformer["drop_path_rate"],
        skip_origin=True,
    )
    return MaskedAutoencoder(
        backbone,
        decoder_depth=transformer["decoder_depth"],
        decoder_num_heads=transformer["decoder_num_heads"],
        mask_ratio=transformer["mask_ratio"],
        mask_type={"rand": "random"}.get(
            transformer["mask_type"], transformer["mask_type"]
        ),
        decoder_drop_path_rate=transformer["drop_path_rate"],
    )


@case("pointmae_pretrain_*")
def pointmae_pretraining(recorded):
    model = masked_autoencoder(recorded.config)
    names = POINT_MAE_PRETRAINING
    fill(model, recorded.weights(), names)
    recorded.check_counts(model, names)
    data = recorded.data
    points, mask = data["points"], data["mask"]
    hidden = int(mask[0].sum())
    recorded.equal("masked patches", model.num_masked, hidden)

    patches = model.patches(points)
    recorded.close("centers", patches["centers"], 0.0)
    recorded.same_sets("knn_idx", patches["neighbors"])
    tokens = model.patch_encoder(patches["neighborhoods"])
    expected = data["patch_tokens"]
    recorded.close("patch_tokens", tokens[: len(expected)], TOKENS)

    parts = model(points, mask)
    size = model.backbone.group_size
    recorded.close("x_vis", parts["visible_tokens"], TOKENS)
    rebuilt = ops.reshape(parts["reconstruction"], (-1, size, 3))
    recorded.close("rebuild_points", rebuilt, TOKENS)
    # The order of the points within a patch is free.
    target = ops.reshape(parts["target"], (-1, size, 3))
    recorded.close_sets("gt_points", target, 1e-6)
    for norm in ("l2", "l1"):
        model.chamfer = f"chamfer_{norm}"
        loss = model.compute_loss(y_pred=parts)
        recorded.close(f"loss_cd{norm}", loss, LOSS)
    model.chamfer = "chamfer_l2"
    if "vis_full" in data:
        _check_reconstruction(recorded, model)
    if "grad_norms" in data:
        data["loss"] = data["loss_cdl2"]
        recorded.check_gradients(
            model,
            names,
            lambda call: model.compute_loss(y_pred=call(points, mask)),
        )


def _check_reconstruction(recorded, model):
    """The published picture: all of the batch's points as one cloud."""
    data = recorded.data
    clouds = model.reconstruct(data["points"], data["mask"])
    size = model.backbone.group_size
    hidden = model.num_masked * size

    def flat(values):
        return np.reshape(ops.convert_to_numpy(values), (-1, 3))

    rebuilt, seen = clouds["points"][:, :hidden], clouds["visible"]
    centers = clouds["centers"]
    first = flat(centers[:, : model.num_masked])
    last = flat(centers[:, model.num_masked :])
    recorded.close("vis_center", np.concatenate((first, last)), 1e-6)
    both = np.concatenate((flat(seen), flat(rebuilt)))
    for name, ours in (("vis_full", both), ("vis_visible", flat(seen))):
        theirs = data[name].reshape(-1, size, 3)
        recorded.close_sets(name, ours.reshape(-1, size, 3), TOKENS, theirs)


@case("pointgpt_pretrain_*")
def pointgpt_pretraining(recorded):
    config, data = recorded.config, recorded.data
    transformer = config["transformer_config"]
    backbone = PointGPTBackbone(
        num_groups=config["num_group"],
        group_size=config["group_size"],
        dim=transformer["trans_dim"],
        depth=transformer["depth"],
        num_heads=transformer["num_heads"],
        skip_origin=True,
        generator_depth=transformer["decoder_depth"],
    )
    model = GenerativePretrainer(backbone, transformer["mask_ratio"])
    names = point_gpt.POINT_GPT | NameMap({}, {}, "GPT_Transformer.")
    ignored = {
        pattern.replace("^", r"^GPT_Transformer\."): reason
        for pattern, reason in point_gpt.UNREAD.items()
    }
    report = fill(model, recorded.weights(), names, ignored)
    check_counts(recorded, model, names, report)
    points, hidden = data["points"], data["in_column_mask"] > 0
    recorded.equal("hidden tokens", model.num_masked, int(hidden.sum()))
    patches = model.patches(points)
    recorded.same_sets("knn0", patches["neighbors"])
    patches = model.order(patches)
    recorded.equal_arrays("order0", patches["order"])
    parts = model(points, hidden)
    generated = ops.reshape(parts["generated"], (-1, backbone.group_size, 3))
    recorded.close("logits", generated, TOKENS)
    loss = model.compute_loss(y_pred=parts)
    recorded.close("pretrain_loss", loss, LOSS)
    check_gradients(
        recorded,
        model,
        names,
        loss_fn=lambda call: model.compute_loss(y_pred=call(points, hidden)),
    )
