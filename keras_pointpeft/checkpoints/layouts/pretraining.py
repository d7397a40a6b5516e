"""Names of the published pre-training models."""

from keras_pointpeft.checkpoints.layouts.point_mae import BLOCK
from keras_pointpeft.checkpoints.layouts.registry import Layout
from keras_pointpeft.checkpoints.layouts.registry import register_task
from keras_pointpeft.checkpoints.layouts.registry import trunk_of
from keras_pointpeft.checkpoints.names import NameMap

DECODER = Layout(
    NameMap(
        {
            "{model}/decoder_position/fc1": "decoder_pos_embed.0",
            "{model}/decoder_position/fc2": "decoder_pos_embed.2",
            **{
                f"{{model}}/decoder_block_{{i}}/{ours}": (
                    f"MAE_decoder.blocks.{{i}}.{theirs}"
                )
                for ours, theirs in BLOCK.items()
            },
            "{model}/decoder_norm": "MAE_decoder.norm",
            "{model}/increase_dim": "increase_dim.0",
        },
        {"{model}/mask_token": "mask_token"},
    ),
    axes={r"^increase_dim\.0\.weight$": 3, r"^mask_token$": 3},
)
CENTERS = Layout(
    NameMap(
        {
            "{model}/predictor_fc1": "pred_pos_proj.0",
            "{model}/predictor_norm": "pred_pos_proj.1",
            "{model}/predictor_fc2": "pred_pos_proj.3",
        },
        {"{model}/mask_position": "MAE_encoder.mask_pos_token"},
    ),
    axes={r"\.mask_pos_token$": 3},
)
PROP = "token_prop.0"
RESIDUAL = f"{PROP}.extraction.operation.0"
HIERARCHY = Layout(
    NameMap(
        {
            "{model}/norm_{i}": "h_encoder.encoder_norms.{i}",
            "{model}/decoder_position_{i}/fc1": "decoder_pos_embeds.{i}.0",
            "{model}/decoder_position_{i}/fc2": "decoder_pos_embeds.{i}.2",
            **{
                f"{{model}}/decoder_block_{{i}}_{{j}}/{ours}": (
                    f"h_decoder.{{i}}.blocks.{{j}}.{theirs}"
                )
                for ours, theirs in BLOCK.items()
            },
            "{model}/propagation/fuse": f"{PROP}.fuse.net.0",
            "{model}/propagation/fuse_norm": f"{PROP}.fuse.net.1",
            "{model}/propagation/conv0": f"{RESIDUAL}.net1.0",
            "{model}/propagation/norm0": f"{RESIDUAL}.net1.1",
            "{model}/propagation/conv1": f"{RESIDUAL}.net2.0",
            "{model}/propagation/norm1": f"{RESIDUAL}.net2.1",
            "{model}/decoder_norm": "decoder_norm",
            "{model}/rebuild": "rec_head",
        },
        {"{model}/mask_token": "mask_token"},
    ),
    axes={
        r"^mask_token$": 2,
        r"^token_prop\..*\.0\.weight$|^rec_head\.weight$": 3,
    },
)


@register_task("MaskedAutoencoder")
def masked_autoencoder(model, base):
    return base.prefixed(trunk_of(model).prefix) | DECODER


@register_task("CenterPredictingAutoencoder")
def center_predicting(model, base):
    return base.prefixed(trunk_of(model).prefix) | DECODER | CENTERS


@register_task("GenerativePretrainer")
def generative(model, base):
    return base.prefixed(trunk_of(model).prefix)


@register_task("HierarchicalMaskedAutoencoder")
def hierarchical(model, base):
    last = len(model.backbone.depths) - 1
    norm = {"norm": f"h_encoder.encoder_norms.{last}"}
    return base | HIERARCHY | Layout(NameMap(norm))
