"""What a user does first, where TensorFlow is not installed: a program.

    python tests/lean_program.py FOLDER
"""

import pathlib
import sys

# An environment without TensorFlow, wherever this runs: importing these fails.
sys.modules.update(dict.fromkeys(("tensorflow", "tensorflow_text", "grain")))


def main(folder):
    import numpy as np

    import keras_pointpeft
    from keras_pointpeft.data import PointCloudDataset
    from keras_pointpeft.data import make_shapes

    made = make_shapes(100, num_points=256)
    points, labels = made.points, made.labels
    name = "dapt_pointmaetiny_shapes"
    model = keras_pointpeft.from_preset(name, load_weights="backbone")
    frozen = {
        v.path: np.array(v.numpy())
        for v in model.weights
        if not v.trainable and "moving_" not in v.path
    }
    data = PointCloudDataset(points, labels, batch_size=25)
    model.fit(data, epochs=1, verbose=0)
    model.fit(points, labels, batch_size=50, epochs=1, verbose=0)
    for variable in model.weights:
        if variable.path in frozen and "seed" not in variable.path:
            assert (variable.numpy() == frozen[variable.path]).all()
    expected = model.predict(points, verbose=0)
    model.save_adapter(folder / "adapter")
    other = keras_pointpeft.from_preset(name, load_weights="backbone")
    other.load_adapter(folder / "adapter")
    model.save_to_preset(folder / "preset")
    again = keras_pointpeft.from_preset(folder / "preset")
    model.save(folder / "model.keras")
    loaded = sys.modules["keras"].saving.load_model(folder / "model.keras")
    for found in (other, again, loaded):
        np.testing.assert_allclose(
            found.predict(points, verbose=0), expected, atol=1e-5
        )
    assert sys.modules["tensorflow"] is None
    print("ok", len(points), "clouds")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
