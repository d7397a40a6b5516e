#!/usr/bin/env bash
# Keras 3.15.1 on tensorflow, under a MirroredStrategy, clips the gradients of
# each replica before it adds them up: `global_clipnorm`, `clipnorm` and
# `clipvalue` alike. The same batch then gives another step than on one device.
# No warning. Right would be to clip the sum: without clipping the steps agree.
# Seen, with one weight and a learning rate of 1: the gradient is -7 and the
# step, clipped, 2. Two replicas have -8 and 1, clipped to -2 and 1, and the step
# is 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" \
    "keras==3.15.1" "tensorflow-cpu==2.21.0" "numpy==2.4.6"
cd "$folder"
KERAS_BACKEND=tensorflow CUDA_VISIBLE_DEVICES= TF_CPP_MIN_LOG_LEVEL=3 \
    PYTHONPATH="$folder" python3 - <<'PYTHON'
import contextlib

import keras
import numpy as np
import tensorflow as tf

# The processor as two devices.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
inputs = np.ones((4, 1), "float32")
targets = np.array([[8], [8], [-1], [-1]], "float32")


def step(scope, **clip):
    with scope:
        model = keras.Sequential(
            [
                keras.Input((1,)),
                keras.layers.Dense(
                    1, use_bias=False, kernel_initializer="zeros"
                ),
            ]
        )
        model.compile(keras.optimizers.SGD(1.0, **clip), "mse")
    model.fit(inputs, targets, batch_size=4, shuffle=False, verbose=0)
    return round(float(model.get_weights()[0].item()), 4)


print(keras.__version__, tf.__version__, strategy.num_replicas_in_sync)
found = {}
for name in (None, "global_clipnorm", "clipnorm", "clipvalue"):
    clip = {name: 2.0} if name else {}
    one = step(contextlib.nullcontext(), **clip)
    two = step(strategy.scope(), **clip)
    print(f"{name or 'no clipping'}: one device {one}, two replicas {two}")
    found[name] = (one, two)
assert found.pop(None) == (7, 7), "it has changed"
assert set(found.values()) == {(2, 1)}, (
    "right would be 2 for both: it has changed"
)
PYTHON
