#!/usr/bin/env bash
# Keras 3.15.1 on jax and torch: a `PyDataset` with `workers` above 1 loses its
# place in the first `fit` of a model. Keras takes a batch to build metrics and
# optimizer, and the queue goes on behind it: with `shuffle=False` each epoch
# begins with the second batch and ends with the first one of another pass. No
# warning. Right would be to begin anew, as with one worker and in a second
# `fit`. Seen: of five batches, in three epochs, 1 2 3 4 0 each time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" \
    "keras==3.15.1" "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6"
cd "$folder"
KERAS_BACKEND=jax JAX_PLATFORMS=cpu PYTHONPATH="$folder" python3 - <<'PYTHON'
import keras
import numpy as np


class Numbers(keras.utils.PyDataset):
    """Batches that are their own number; 0 is to be predicted."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        return np.full((2, 1), index, "float32"), np.zeros((2, 1), "float32")


class Order(keras.callbacks.Callback):
    """Which batches came, from the mean of the losses so far."""

    def on_train_begin(self, logs=None):
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append([])
        self.total = 0

    def on_train_batch_end(self, batch, logs=None):
        # The loss of batch i is i * i.
        total = round((batch + 1) * float(logs["loss"]))
        self.epochs[-1].append(round((total - self.total) ** 0.5))
        self.total = total


def orders(workers):
    inputs = keras.Input((1,))
    layer = keras.layers.Dense(1, kernel_initializer="ones")
    model = keras.Model(inputs, layer(inputs))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    found = []
    for epochs in (3, 1):
        order = Order()
        model.fit(
            Numbers(workers=workers),
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[order],
        )
        found.append(order.epochs)
    return found


one, two = orders(1), orders(2)
print(keras.__version__, "one worker:", one, "two workers:", two)
right, wrong = [0, 1, 2, 3, 4], [1, 2, 3, 4, 0]
assert one == [[right] * 3, [right]], "it has changed"
assert two == [[wrong] * 3, [right]], (
    "right would be as with one worker: it has changed"
)
PYTHON
