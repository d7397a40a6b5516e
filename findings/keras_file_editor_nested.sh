#!/usr/bin/env bash
# Keras 3.15.1, `keras.saving.KerasFileEditor`: a layer without variables of its
# own is skipped with all the layers in it, such as a model within a model, an
# attention layer or a recurrent one. `summary` does not list them, and `save`
# leaves them out of the file without a word. Right would be a file with all
# weights. Seen: of the 15 arrays of such a model 2 are left after opening and
# saving with no edit, and the model that wrote the first file cannot load the
# second.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" \
    "keras==3.15.1" "jax==0.10.2" "jaxlib==0.10.2" "numpy==2.4.6"
cd "$folder"
KERAS_BACKEND=jax JAX_PLATFORMS=cpu PYTHONPATH="$folder" python3 - <<'PYTHON'
import h5py
import keras

# Only the first of these layers has variables of its own.
inputs = keras.Input((4, 3))
values = keras.layers.Dense(4)(inputs)
values = keras.layers.MultiHeadAttention(1, 2)(values, values)
values = keras.Sequential([keras.layers.Dense(3)])(values)
outputs = keras.layers.SimpleRNN(2)(values)
model = keras.Model(inputs, outputs)


def arrays(name):
    found = []
    with h5py.File(name) as file:
        file.visititems(
            lambda path, item: (
                found.append(path) if isinstance(item, h5py.Dataset) else None
            )
        )
    return found


model.save_weights("given.weights.h5")
editor = keras.saving.KerasFileEditor("given.weights.h5")
editor.summary()
editor.save("saved.weights.h5")
given, saved = arrays("given.weights.h5"), arrays("saved.weights.h5")
print(keras.__version__, "arrays:", len(given), "after saving:", saved)
loads = True
try:
    model.load_weights("saved.weights.h5")
except ValueError as error:
    loads = False
    print(str(error).splitlines()[0])
assert len(given) == len(model.weights), "it has changed"
assert saved == ["layers/dense/vars/0", "layers/dense/vars/1"], (
    "right would be all of them: it has changed"
)
assert not loads, "it has changed"
PYTHON
