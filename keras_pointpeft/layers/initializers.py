import keras
from keras import ops


def redraw(layers, initializer, seed=None, **kwargs):
    """Draws the kernels of built layers anew and sets their biases to 0.

    For published models that start otherwise than PyTorch's layers, and so
    than `keras_pointpeft.layers.Linear`, do. Nothing but variables named
    `kernel` and `bias` is touched, sub-layers included.

    Args:
        layers: iterable of built layers.
        initializer: class of `keras.initializers` that takes a `seed`.
        seed: optional int.
        **kwargs: further arguments of the initializer.
    """
    # One initializer with an int as seed would draw the same each time.
    draw = initializer(seed=keras.random.SeedGenerator(seed), **kwargs)
    for layer in layers:
        for variable in layer.weights:
            if variable.name == "kernel":
                variable.assign(draw(variable.shape, variable.dtype))
            elif variable.name == "bias":
                variable.assign(ops.zeros(variable.shape, variable.dtype))
