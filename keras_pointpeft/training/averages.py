"""Moving averages of BatchNorm, estimated anew after a short run."""

import keras

from keras_pointpeft.layers.basic import MOMENTUM
from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.training.callbacks import assign
from keras_pointpeft.training.callbacks import snapshot

# More batches of a large set would say the same.
BATCHES = 50


def trained_norms(model) -> list:
    """The batch normalizations of a model that train and average."""
    kinds = (BatchNorm, keras.layers.BatchNormalization)
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, kinds)
        and layer.trainable_variables
        and not getattr(layer, "frozen_statistics", False)
    ]


def renew(model, batches):
    """Sets moving averages to the means over batches, weights as they are.

    While weights move, averages over the last steps lag behind them. Where
    tokens of all clouds are much alike, as those of a pre-trained backbone
    are, that is a shift which all clouds have in common, and whole classes are
    missed. `torch.optim.swa_utils.update_bn` does the same after averaging.

    Of the model nothing else changes, not its random state either.

    Args:
        model: a Keras model, built.
        batches: `keras.utils.PyDataset` of what it trains on. At most 50
            batches are looked at.
    """
    norms = trained_norms(model)
    if not norms:
        return
    averages = [v for n in norms for v in (n.moving_mean, n.moving_variance)]
    state = [v for v in model.variables if not v.trainable]
    before = snapshot(state)
    count = min(len(batches), BATCHES)
    sums = [0.0] * len(averages)
    for index in range(count):
        for variable in averages:
            variable.assign(keras.ops.zeros(variable.shape, variable.dtype))
        model(batches[index][0], training=True)
        sums = [a + b for a, b in zip(sums, snapshot(averages))]
    assign(state, before)
    # An average that starts at 0 is this part of the batch's own after a step.
    momenta = [getattr(n, "momentum", MOMENTUM) for n in norms]
    parts = [1 - m for m in momenta for _ in ("mean", "variance")]
    assign(averages, [s / (count * part) for s, part in zip(sums, parts)])
