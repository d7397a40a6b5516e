"""Moving averages of BatchNorm, estimated anew after a short run."""

import keras

from keras_pointpeft.layers.basic import MOMENTUM
from keras_pointpeft.layers.basic import BatchNorm
from keras_pointpeft.training.callbacks import assign
from keras_pointpeft.training.callbacks import snapshot

# More batches of a large set would say the same.
BATCHES = 50
# So few say it well enough to choose an epoch, and cost every epoch little.
BATCHES_TO_CHOOSE = 10


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


class RenewedAverages(keras.callbacks.Callback):
    """Validates the weights of each epoch with averages of their own.

    Those that have gathered lag behind, most where the rate is high, and an
    epoch would be chosen by figures that nobody gets: what is chosen has its
    averages renewed. Training does not read them, and is the same without.

    Args:
        batches: `keras_pointpeft.data.EpochDataset` of what it trains on.
        seed: the run's `EpochSeed`.
    """

    def __init__(self, batches, seed):
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_test_begin(self, logs=None):
        self.settle(self.model, self.epoch + 1, BATCHES_TO_CHOOSE)

    def settle(self, model, epoch, most=BATCHES):
        """Renews a model's averages with batches as an epoch draws them.

        So they depend on the weights alone, not on whether the run was
        interrupted.
        """
        self.batches.epoch = epoch
        self.seed.on_epoch_begin(epoch)
        renew(model, self.batches, most)


def renew(model, batches, most=BATCHES):
    """Sets moving averages to the means over batches, weights as they are.

    While weights move, averages over the last steps lag behind them. Where
    tokens of all clouds are much alike, as those of a pre-trained backbone
    are, that is a shift which all clouds have in common, and whole classes are
    missed. `torch.optim.swa_utils.update_bn` does the same after averaging.

    Of the model nothing else changes, not its random state either.

    Args:
        model: a Keras model, built.
        batches: `keras.utils.PyDataset` of what it trains on.
        most: int. How many of its batches are looked at.
    """
    norms = trained_norms(model)
    if not norms:
        return
    averages = [v for n in norms for v in (n.moving_mean, n.moving_variance)]
    state = [v for v in model.variables if not v.trainable]
    before = snapshot(state)
    count = min(len(batches), most)
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
