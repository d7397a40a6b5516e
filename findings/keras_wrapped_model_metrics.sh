#!/usr/bin/env bash
# Keras 3.15.1: a compiled model within another model has its metrics left out
# of the other's, as the source says it should, but only where it is a layer
# there itself. Within a wrapper, such as TimeDistributed, they come along:
# `Layer.metrics` of the wrapper lists them. They have the same names, and what
# `evaluate` and `fit` return as the loss is then the inner model's, which no
# step has updated. No warning. Seen: a loss of 0.0 beside a mean squared error,
# which is the very loss, of 4.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" \
    "keras==3.15.1" "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6"
cd "$folder"
KERAS_BACKEND=jax JAX_PLATFORMS=cpu PYTHONPATH="$folder" python3 - <<'PYTHON'
import keras
import numpy as np

# A model that was trained on its own: with weights of zero, on zeros.
inner = keras.Sequential(
    [keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros")]
)
inner.compile("sgd", "mse", metrics=["mae"])
inner.train_on_batch(np.zeros((2, 3)), np.zeros((2, 1)))


def evaluated(layer, shape):
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(inputs))
    model.compile("sgd", "mse", metrics=["mse"])
    # It predicts 0 where 2 is asked for.
    points = np.ones((2, *shape))
    targets = np.full((2, *shape[:-1], 1), 2.0)
    result = model.evaluate(points, targets, verbose=0, return_dict=True)
    return len(model.metrics), result


direct = evaluated(inner, (3,))
wrapped = evaluated(keras.layers.TimeDistributed(inner), (4, 3))
print(keras.__version__, "metrics, result: as a layer", direct)
print("in a wrapper", wrapped)
assert direct == (2, {"loss": 4.0, "mse": 4.0}), "it has changed"
assert wrapped == (4, {"loss": 0.0, "mae": 0.0, "mse": 4.0}), (
    "right would be a loss of 4.0: it has changed"
)
PYTHON
