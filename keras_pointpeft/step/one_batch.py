"""A prediction of one batch, without the loop that Keras makes for many."""

import keras
import numpy as np

from keras_pointpeft.ops import replicas

# What Keras takes as a batch where nothing is said.
BATCH_SIZE = 32
SETTINGS = {"batch_size", "verbose", "steps", "callbacks"}


def suits(model, x, settings):
    """Whether `predict` does the same for this input as Keras' loop.

    That is so for arrays of one batch at which nobody looks.

    Args:
        model: Keras model.
        x: what `predict` takes.
        settings: dict, its further arguments.
    """
    several = replicas.sharing() > 1
    # Of tensorflow, a model's own, also where it predicts outside of it.
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        several = True
    watched = settings.get("callbacks") or settings.get("steps") is not None
    if several or watched or not set(settings) <= SETTINGS:
        return False
    size = settings.get("batch_size")
    size = BATCH_SIZE if size is None else size
    leaves = [] if x is None else keras.tree.flatten(x)
    known = leaves and all(isinstance(leaf, np.ndarray) for leaf in leaves)
    return (
        bool(known)
        and isinstance(size, int)
        and all(len(leaf) <= size for leaf in leaves)
    )


def predict(model, x, verbose):
    """What `keras.Model.predict` gives, and shows.

    Args:
        model: Keras model.
        x: arrays of one batch, see `suits`.
        verbose: as in `keras.Model.predict`.
    """
    bar = None
    if verbose != 0:
        bar = keras.callbacks.ProgbarLogger()
        bar.set_params({"verbose": verbose, "epochs": 1, "steps": 1})
        bar.on_predict_begin()
    if keras.config.backend() == "torch":
        # For layers of torch itself, somewhere in a part of it.
        model.eval()
    found = keras.Model.predict_on_batch(model, x)
    if bar is not None:
        bar.on_predict_batch_end(0)
        bar.on_predict_end()
    return found
