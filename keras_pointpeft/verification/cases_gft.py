"""Recorded cases of GFT, on Point-MAE: classification and parts."""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.transfer import fill_layout
from keras_pointpeft.models import PartSegmenter
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.peft import GFT
from keras_pointpeft.peft.neighborhoods import nearest_features
from keras_pointpeft.verification.case import LOGITS
from keras_pointpeft.verification.case import backbone_arguments
from keras_pointpeft.verification.case import case
from keras_pointpeft.verification.cases_methods import point_mae_classifier
from keras_pointpeft.verification.family import TRAINED
from keras_pointpeft.verification.family import check_classifier
from keras_pointpeft.verification.family import check_counts
from keras_pointpeft.verification.family import check_gradients
from keras_pointpeft.verification.family import check_parts
from keras_pointpeft.verification.family import encoded_tokens
from keras_pointpeft.verification.gradients import forward


def method(config, graph, cross):
    """GFT by the published configuration, which comes in two forms."""
    first, second, *_ = cross["cross_idx"]
    return GFT(
        num_prompts=config["prompt_len"],
        num_neighbors=graph["k"],
        graph_dims=graph["feat_dims"],
        graph_dim=graph["emb_dim"],
        every=second - first,
        rank=cross["cross_attn_dim"],
        num_heads=cross["cross_attn_heads"],
        dropout=cross["cross_attn_drop_rate"],
        frozen_bn="track",
    )


def recorded_parts(backbone):
    """Symbolic tensors by array name.

    Tokens are recorded before a cross attention and after it.
    """
    graph = backbone.get_layer("tuner_tokens_0")
    parts = {"graph_feature": graph.output}
    crossed = 0
    for i in range(backbone.depth):
        block = backbone.get_layer(f"block_{i}")
        parts[f"block{i}"] = block.output if block.tuner is None else None
        if block.tuner is not None:
            parts[f"cross{crossed}"] = block.output
            crossed += 1
    sequence = backbone.get_layer("tuner_sequence").output[0]
    parts["edge_in"] = x = sequence
    for i, edge in enumerate(graph.edges):
        parts[f"edge_layer{i}"] = x = edge(x)
    return parts


def check_graphs(recorded, backbone):
    """The sets of nearest features, of every graph convolution."""
    sequence = backbone.get_layer("tuner_sequence").output[0]
    graph, inputs = backbone.get_layer("tuner_tokens_0"), {}
    for i, edge in enumerate(graph.edges):
        inputs[f"featknn{i}"] = sequence
        sequence = edge(sequence)
    found = keras.Model(backbone.input, inputs)(recorded.data["points"])
    for name, x in found.items():
        index = nearest_features(x, graph.num_neighbors)
        recorded.same_sets(name, index)


@case("gft_pointmae_*")
def graph_features(recorded):
    config = recorded.config
    model = point_mae_classifier(config, method(config, config, config))
    check_classifier(recorded, model, **recorded_parts(model.backbone))
    check_graphs(recorded, model.backbone)


@case("gft_partseg_*")
def graph_features_of_parts(recorded):
    config, data = recorded.config, recorded.data
    theirs = config["decoder"]
    peft = method(config, config["edge_conv"], config["cross_attention"])
    backbone = PointMAEBackbone(
        **backbone_arguments(config), use_class_token=False, peft=peft
    )
    model = PartSegmenter(
        backbone,
        theirs["num_cls"],
        theirs["num_obj"],
        blocks=config["extract_layers"],
        propagation_dims=(theirs["hidden_dim"], 1024, 512),
        dropout=0.0,
    )
    # In training, what is recorded knows no dropout.
    decoder = model.get_layer("decoder")
    for block in decoder.blocks:
        block.drop_path1.rate = block.drop_path2.rate = 0.0
        for drop in block.tuner.drops.values():
            drop.rate = 0.0
    state, layout = recorded.weights(), layout_of(model)
    report = fill_layout(model, state, layout)
    check_counts(recorded, model, layout.names, report)
    parts = recorded_parts(backbone)
    parts["patch_tokens"] = encoded_tokens(backbone)
    check_parts(recorded, backbone, parts)
    check_graphs(recorded, backbone)
    inputs = {
        "points": data["points"],
        "category": data["in_cls_label"].astype("int32"),
    }
    propagated = model.get_layer("propagation").output
    check_parts(
        recorded,
        model,
        {"propagated": propagated},
        inputs=model.input,
        values=inputs,
    )
    scores = ops.convert_to_numpy(forward(model, inputs))
    for name, stride in (
        ("logits", 1),
        ("logits_stride4", 4),
        ("logits_f64_stride16", 16),
    ):
        if name in data:
            recorded.close(name, scores[:, ::stride], LOGITS)
    if "pred_all" in data:
        wrong = np.mean(scores.argmax(axis=-1) != data["pred_all"])
        # Two classes may be as good as equal at a point.
        recorded.close("pred_all", wrong, 1e-3, np.zeros(()))
    if "in_target" not in data or "grad_norm" not in data:
        return
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    target = data["in_target"].astype("int32")

    def loss(call):
        return entropy(target, call(inputs))

    check_gradients(recorded, model, layout.names, inputs, loss_fn=loss)
    recorded.close(
        "train_logits_f64", model(inputs, training=True), TRAINED
    )
    fill_layout(model, state, layout)
    check_gradients(
        recorded, model, layout.names, inputs, training=True, loss_fn=loss
    )
