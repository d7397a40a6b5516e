"""The recorded cases of Point-PEFT on Point-MAE."""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.loading import load_into
from keras_pointpeft.models import PointCloudClassifier
from keras_pointpeft.models import PointMAEBackbone
from keras_pointpeft.peft import PointPEFT
from keras_pointpeft.peft.point_peft.prior import prior_layer
from keras_pointpeft.verification.case import LOGITS
from keras_pointpeft.verification.case import TOKENS
from keras_pointpeft.verification.case import backbone_arguments
from keras_pointpeft.verification.case import case
from keras_pointpeft.verification.case import mean_cross_entropy
from keras_pointpeft.verification.cases_point_mae import point_mae_backbone
from keras_pointpeft.verification.gradients import forward


def point_peft(config, bank_size, **kwargs):
    """Our method of a published configuration."""
    adapter = config["adapter_config"]
    arguments = {
        "adapter_rank": adapter["adapter_dim"],
        "adapter_dropout": adapter["adapter_drop_path_rate"],
        "num_heads": config["num_heads"],
        "reference": True,
        "frozen_bn": "track",
        **kwargs,
    }
    return PointPEFT(bank_size=bank_size, **arguments)


def classifier(config, training=False, **kwargs):
    """Our classifier of a published configuration."""
    if training:
        kwargs["prompt_dropout"] = 0.0
    backbone = point_mae_backbone(config, point_peft(config, **kwargs))
    dropout = 0.0 if training else 0.5
    return PointCloudClassifier(backbone, config["cls_dim"], dropout=dropout)


def with_given_feature(model):
    """The model with the frozen pass's feature as a second input.

    The recorded features are not what the recorded weights make of the
    points, so they are put in where the frozen pass would be.
    """
    backbone = model.backbone
    feature = backbone.get_layer("frozen_pass").output
    outputs = backbone.output
    parts = {
        f"block_{i}": backbone.get_layer(f"block_{i}").output
        for i in range(backbone.depth)
    }
    if "patch_encoder" in [layer.name for layer in backbone.layers]:
        parts["patch_tokens"] = backbone.get_layer("patch_encoder").output
    parts["norm_out"] = backbone.get_layer("tuner_norm").output
    parts["cache_prompt"] = backbone.get_layer("tuner_prior").output
    parts["pooled"] = model.token_pooling(outputs)
    parts["logits"] = model.head(parts["pooled"])
    return keras.Model([backbone.input, feature], parts)


def logits_of(model):
    whole = with_given_feature(model)
    return keras.Model(whole.inputs, whole.output["logits"])


@case("pointpeft_pointmae_tiny*")
@case("pointpeft_pointmae_full")
@case("pointpeft_pointmae_fps_quirk")
def pointpeft_pointmae(recorded):
    data, record = recorded.data, recorded.manifest
    training = record["forward"]["mode"] == "train"
    bank = data["bank"]
    model = classifier(recorded.config, training, bank_size=bank.shape[1])
    load_into(model, recorded.weights(), bank=bank)
    trained = layout_of(model).parameter
    recorded.check_counts(model, trained)
    points, feature = data["points"], data["cp_feat"]
    if not training:
        values = forward(with_given_feature(model), (points, feature))
        values |= _statistics(values, model.backbone.depth)
        for name, value in values.items():
            if name in data:
                if "block" in name:
                    recorded.close_stream(name, value)
                    continue
                tolerance = LOGITS if name == "logits" else TOKENS
                recorded.close(name, value, tolerance)
        _check_geometry(recorded, model)
        _check_alone(recorded, model)
        _check_without_bank(recorded)
    if "grad_norms" in data:
        entropy = mean_cross_entropy(data["labels"])
        recorded.check_gradients(
            logits_of(model),
            trained,
            lambda call: entropy(call([points, feature])),
            training,
        )


def _statistics(values, depth):
    """The summaries that stand for the blocks' outputs in large cases."""
    blocks = [
        np.asarray(ops.convert_to_numpy(values[f"block_{i}"]), "float64")
        for i in range(depth)
    ]
    stats = [
        (x.mean(), x.std(), np.sqrt((x * x).sum()), np.abs(x).max())
        for x in blocks
    ]
    return {
        "block_stats": np.array(stats),
        "block_cls": np.stack([x[:, 0] for x in blocks]),
    }


def _check_geometry(recorded, model):
    data, backbone = recorded.data, model.backbone
    _, index = ops.top_k(
        ops.matmul(_unit(data["cp_feat"]), data["bank"]),
        prior_layer(backbone).top_k,
    )
    recorded.same_sets("bank_topk_idx", index)
    shared = outputs_of(backbone.get_layer("tuner_geometry"))
    patches = outputs_of(backbone.get_layer("patches"))
    parts = {
        "knn_idx_0": patches["neighbors"],
        "fps_idx_2": shared["chosen"],
        "knn_idx_2": shared["neighbors"],
        "fps_idx_3": shared["prompted_chosen"],
        "knn_idx_3": shared["prompted_neighbors"],
    }
    values = keras.Model(backbone.input, parts)(data["points"])
    for name, value in values.items():
        if "fps" in name:
            same = np.array_equal(ops.convert_to_numpy(value), data[name])
            recorded.equal(name, same, True)
        else:
            recorded.same_sets(name, value)


def outputs_of(layer):
    """A layer's symbolic outputs by name; Keras keeps them in a list."""
    inputs = layer.input
    inputs = inputs if isinstance(inputs, list) else [inputs]
    names = sorted(layer.compute_output_spec(*inputs))
    return dict(zip(names, layer.output))


def _unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def _check_alone(recorded, model):
    data = recorded.data
    run = logits_of(model)
    alone = [
        ops.convert_to_numpy(
            run((data["points"][i : i + 1], data["cp_feat"][i : i + 1]))
        )
        for i in range(len(data["points"]))
    ]
    name = "logits_each_sample_alone"
    recorded.close(name, np.concatenate(alone), LOGITS)


def _check_without_bank(recorded):
    data = recorded.data
    model = classifier(recorded.config, bank_size=0, prior=False)
    load_into(model, recorded.weights())
    pooled = model.token_pooling(forward(model.backbone, data["points"]))
    recorded.close("pooled_no_bank", pooled, TOKENS)
    recorded.close("logits_no_bank", model.head(pooled), LOGITS)


@case("pointpeft_pointmae_modelnet_legacy_*")
def pointpeft_modelnet(recorded):
    config, data, weights = recorded.config, recorded.data, recorded.weights()
    bank = data["bank"]
    changes = {
        "reference": False,
        "gated": True,
        "prompt_place": "attention",
        "prompt_blocks": config["depth"],
        "prior_rank": 16,
    }
    model = classifier(config, bank_size=bank.shape[1], **changes)
    load_into(model, weights, bank=bank)
    trained = layout_of(model).parameter
    recorded.check_counts(model, trained)
    inputs = (data["points"], data["cp_feat"])
    for name, value in forward(with_given_feature(model), inputs).items():
        if name in data:
            tolerance = LOGITS if name == "logits" else TOKENS
            recorded.close(name, value, tolerance)
    entropy = mean_cross_entropy(data["labels"])
    recorded.check_gradients(
        logits_of(model), trained, lambda call: entropy(call(list(inputs)))
    )
    changes["neighborhood_pooling"] = "max+mean"
    model = classifier(config, bank_size=bank.shape[1], **changes)
    load_into(model, weights, bank=bank)
    recorded.close("logits_maxmean", forward(logits_of(model), inputs), LOGITS)
    del changes["neighborhood_pooling"]
    model = classifier(config, bank_size=0, prior=False, **changes)
    without = {k: v for k, v in weights.items() if "cp_adapter" not in k}
    load_into(model, without)
    logits = forward(model, data["points"])
    recorded.close("logits_no_bank", logits, LOGITS)


@case("pointpeft_cpfeature_*")
def pointpeft_feature(recorded):
    backbone = PointMAEBackbone(**backbone_arguments(recorded.config))
    load_into(backbone, recorded.weights())
    points = recorded.data["points"]
    feature = backbone.frozen_pass()(points)
    recorded.close("feature", feature, TOKENS)
    # In a tuned model the frozen pass shares the patches' tokens.
    for frozen_bn in ("inference", "track"):
        method = PointPEFT(
            bank_size=16,
            prior_num_groups=None,
            prior_group_size=None,
            frozen_bn=frozen_bn,
        )
        tuned = backbone.clone(peft=method)
        output = tuned.get_layer("frozen_pass").output
        feature = keras.Model(tuned.input, output)(points)
        recorded.close("feature", feature, TOKENS)
