"""What the recorded cases of the Point-MAE family have in common.

Their arrays are named otherwise than those of `reference`: `block0` or, of
full-size models, the first and last tokens as `block0_probe`; of gradients,
norms and the full values of small tensors.
"""

import keras
import numpy as np
from keras import ops

from keras_pointpeft.checkpoints.layouts import layout_of
from keras_pointpeft.checkpoints.names import to_reference
from keras_pointpeft.checkpoints.transfer import fill_layout
from keras_pointpeft.peft.method import weights_of
from keras_pointpeft.verification.case import GRADIENT
from keras_pointpeft.verification.case import LOGITS
from keras_pointpeft.verification.case import LOSS
from keras_pointpeft.verification.case import TOKENS
from keras_pointpeft.verification.case import mean_cross_entropy
from keras_pointpeft.verification.gradients import forward
from keras_pointpeft.verification.gradients import value_and_gradients

# Below this share of the largest gradient norm, a norm is rounding noise.
NOISE = 1e-3
# What is recorded of an array, by the suffix of its name.
CUTS = {
    "": lambda x: x,
    "_probe": lambda x: np.concatenate((x[:, :4], x[:, -4:]), axis=1),
    "_first32": lambda x: x[:, :32],
    "_first64": lambda x: x[:64],
}
# Batch statistics of a few samples amplify the noise of float32.
TRAINED, TRAINED_GRADIENT = 2e-4, 5e-3


def check_classifier(
    recorded,
    model,
    order=None,
    shown=None,
    injected=(),
    gradient=GRADIENT,
    **parts,
):
    """Compares everything that a classification case has recorded.

    Args:
        recorded: the `reference.Case`.
        model: our `PointCloudClassifier` without dropout, filled here.
        order: optional list of ints, which of our tokens stand where in the
            recorded ones.
        shown: optional int. How many tokens in front of the recorded ones
            are compared, where they have more than ours.
        injected: pairs of a symbolic tensor inside the backbone and the
            recorded array that takes its place.
        gradient: float. How far gradients may be apart.
        **parts: further symbolic tensors by array name; None for one that is
            not compared.
    """
    data, backbone = recorded.data, model.backbone
    points = data["points"]
    state = recorded.weights()
    layout = layout_of(model)
    names = layout.names
    report = fill_layout(model, state, layout)
    check_counts(recorded, model, names, report)

    parts = {
        "patch_tokens": encoded_tokens(backbone),
        "patch_tokens_encoder": backbone.get_layer("patch_encoder").output,
        "norm_out": backbone.get_layer("norm").output,
        **block_outputs(backbone, order),
        **parts,
    }
    inputs = [backbone.input, *(tensor for tensor, _ in injected)]
    values = [points, *(array for _, array in injected)]
    pooled = model.token_pooling(backbone.output)
    logits = model.head(pooled)
    run = keras.Model(inputs, logits)
    parts = _recorded_of(recorded, parts)
    every = keras.Model(inputs, {**parts, "head_in": pooled, "logits": logits})
    found = forward(every, values)
    recorded.close("head_in", found.pop("head_in"), TOKENS)
    recorded.close("logits", found.pop("logits"), LOGITS)
    _compare_parts(recorded, found, shown)
    patches = backbone.get_layer("patches")(points)
    if "knn0" in data:
        recorded.same_sets("knn0", patches["neighbors"])
    centers = np.take_along_axis(points, data["fps0"][..., None].astype(int), 1)
    recorded.close("fps0", patches["centers"], 0.0, centers)
    if "labels" in data:
        check_gradients(recorded, run, names, values, bound=gradient)
    if "train_logits_f64" in data:
        logits = run(values, training=True)
        recorded.close("train_logits_f64", logits, TRAINED)
        fill_layout(model, state, layout)
        check_gradients(recorded, run, names, values, training=True)
        fill_layout(model, state, layout)


def check_counts(recorded, model, names, report):
    """All and trainable parameters, by number and by name."""
    expected = recorded.manifest["trainable"]
    ours = {names(v.path) for v in model.trainable_variables}
    sizes = {n: int(np.prod(s)) for n, s, _ in recorded.manifest["state_dict"]}
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    left_out = [n for n in report.unused if not n.endswith(statistics)]
    unread = sum(sizes[n] for n in left_out)
    every = sum(
        int(np.prod(v.shape))
        for path, v in weights_of(model).items()
        if "/moving_" not in path
    )
    published = recorded.manifest["param_count"]
    recorded.equal("parameters", every + unread, published)
    if expected["names"] == "all":
        ours |= set(left_out)
        theirs = {n for n in sizes if not n.endswith(statistics)}
    else:
        theirs = set(expected["names"])
        ours |= theirs & set(left_out)
    recorded.equal("trainable names", ours, theirs)
    counted = sum(sizes[name] for name in ours)
    recorded.equal("trainable parameters", counted, expected["count"])


def check_parts(recorded, model, parts, inputs=None, values=None):
    """Compares intermediate tensors, whole or the recorded part of them.

    Args:
        recorded: the `reference.Case`.
        model: the functional model that they belong to.
        parts: dict from array name to symbolic tensor.
        inputs: optional list of symbolic tensors in place of its input.
        values: their values.
    """
    if inputs is None:
        inputs, values = model.input, recorded.data["points"]
    parts = keras.Model(inputs, _recorded_of(recorded, parts))
    _compare_parts(recorded, forward(parts, values))


def _recorded_of(recorded, parts):
    """Those of the parts that are recorded, whole or not."""
    return {
        name: tensor
        for name, tensor in parts.items()
        if tensor is not None
        and any(name + suffix in recorded.data for suffix in CUTS)
    }


def _compare_parts(recorded, found, shown=None):
    """Compares arrays by name, `shown` tokens in front of blocks' outputs."""
    for name, value in found.items():
        for suffix, cut in CUTS.items():
            if name + suffix not in recorded.data:
                continue
            ours = cut(ops.convert_to_numpy(value))
            theirs = recorded.data[name + suffix]
            if not name.startswith("block"):
                recorded.close(name + suffix, ours, TOKENS)
                continue
            # Of the last tokens, those in front are not shown.
            count = 4 if suffix and shown else shown
            recorded.close_stream(
                name + suffix, ours[:, :count], theirs[:, :count]
            )


def check_gradients(
    recorded,
    model,
    names,
    points=None,
    training=False,
    loss_fn=None,
    bound=GRADIENT,
):
    """Loss, gradients and, in training, the statistics that moved.

    The model's own losses are part of the loss, as in training. `points` are
    the model's inputs, if not the recorded points; `loss_fn` is the loss, if
    not the cross-entropy of what the model returns for them; `bound` is how
    far gradients in inference may be apart.
    """
    if not recorded.gradients:
        return
    data = recorded.data
    if loss_fn is None:
        entropy = mean_cross_entropy(data["labels"])
    points = data["points"] if points is None else points
    loss, gradients = value_and_gradients(
        model,
        loss_fn or (lambda call: entropy(call(points))),
        training,
    )
    prefix = "train_" if training else ""
    # Of what batch statistics amplify, the loss is the mean.
    recorded.close(f"{prefix}loss_f64", loss, TOKENS if training else LOSS)
    shapes = {n: s for n, s, _ in recorded.manifest["state_dict"]}
    ours = {
        names(path): to_reference(path, value, shapes[names(path)])
        for path, value in gradients.items()
    }
    norms = data[f"{prefix}grad_norm_f64"]
    noise = NOISE * norms.max()
    worst = 0.0
    for name, norm in zip(recorded.manifest["grad_names"], norms):
        mine = np.linalg.norm(ours[name]) if name in ours else 0.0
        difference = abs(mine - max(norm, 0.0))
        worst = max(worst, difference / max(norm, noise))
        if not training and f"grad:{name}" in data:
            theirs = data[f"grad:{name}"]
            scale = max(np.abs(theirs).max(), noise)
            difference = np.abs(ours[name] - theirs).max()
            worst = max(worst, difference / scale)
    bound = TRAINED_GRADIENT if training else bound
    recorded.close(f"{prefix}gradients", worst, bound, np.zeros(()))
    if training:
        after = {names(p): v for p, v in weights_of(model).items()}
        for name, theirs in data.items():
            if name.startswith("train_buf:"):
                mine = after[name.removeprefix("train_buf:")]
                recorded.close(name, mine, TOKENS)


def encoded_tokens(backbone):
    """The patch tokens as the published models record them."""
    names = [layer.name for layer in backbone.layers]
    name = "projection" if "projection" in names else "patch_encoder"
    return backbone.get_layer(name).output


def block_outputs(backbone, order=None):
    """The tokens after every block, under the names of the arrays.

    Args:
        backbone: the backbone.
        order: optional list of ints, which token stands where.
    """
    outputs = {
        f"block{i}": backbone.get_layer(f"block_{i}").output
        for i in range(backbone.depth)
    }
    if order is None:
        return outputs
    return {k: ops.take(x, order, axis=1) for k, x in outputs.items()}
