import keras
import numpy as np
import pytest

from keras_pointpeft.data import Split


def _model(classes=3, dropout=0.3, dtype=None):
    """A small PointNet with everything that has state: BatchNorm, dropout."""
    keras.utils.set_random_seed(3)
    points = keras.Input((None, 3))
    x = keras.layers.Dense(16, activation="relu", dtype=dtype)(points)
    x = keras.layers.BatchNormalization(dtype=dtype)(x)
    x = keras.layers.Dropout(dropout, (None, 1, None), dtype=dtype)(x)
    x = keras.layers.Dense(16, activation="relu", dtype=dtype)(x)
    x = keras.layers.GlobalMaxPooling1D(dtype=dtype)(x)
    x = keras.layers.Dropout(dropout, dtype=dtype)(x)
    logits = keras.layers.Dense(classes, dtype=dtype)(x)
    return keras.Model(points, logits)


def _split(clouds=48, points=20, seed=0, name="blobs"):
    """Three classes that differ in their extent along one axis."""
    rng = np.random.default_rng(seed)
    labels = np.arange(clouds) % 3
    stretch = np.ones((clouds, 1, 3))
    stretch[np.arange(clouds), 0, labels] = 4.0
    return Split(
        rng.normal(size=(clouds, points, 3)) * stretch,
        labels,
        ("x", "y", "z"),
        name=name,
    )


@pytest.fixture
def make_model():
    return _model


@pytest.fixture
def make_split():
    return _split
