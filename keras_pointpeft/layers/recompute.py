"""What the backward pass of a layer computes again."""

import weakref

import keras
from keras import ops

from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.ops import accelerators

MODES = ("none", "elementwise", "block")


def check_remat(mode):
    if mode not in MODES:
        raise ValueError(
            f"`remat` must be one of {MODES}. Received: remat={mode!r}"
        )


def recomputed_layer(layer, function):
    """`function`, of which the backward pass keeps the inputs alone.

    It may draw from a layer's random states, unlike what
    `ops.arithmetic.recomputed` takes: the second run draws what the first drew.

    Args:
        layer: built `keras.layers.Layer`.
        function: from tensors to a nest of tensors and None.
    """
    plain = _stateless(layer, function)
    fast = accelerators.find("recomputed")
    if fast is None:
        return plain
    if layer not in _STATES:
        # The masks of these are kept, so that no state is needed.
        kept = {
            id(part.seed_generator.state)
            for part in layer._flatten_layers()
            if isinstance(part, Dropout) and part.rate > 0
        }
        _STATES[layer] = [
            v
            for v in layer.variables
            if is_random_state(v) and id(v) not in kept
        ]
    return fast(function, [v.value for v in _STATES[layer]], plain)


# The random states of each layer, because collecting them takes time.
_STATES = weakref.WeakKeyDictionary()


def _stateless(layer, function):
    """For `keras.remat`, which knows nothing of states.

    The layer's variables go in as tensors, and the seeds of random numbers
    among them come out again.
    """

    def call(*inputs):
        variables = layer.variables
        states = [v for v in variables if is_random_state(v)]
        present = []

        def pure(values, *inputs):
            values = [
                value if v.trainable else ops.stop_gradient(value)
                for v, value in zip(variables, values)
            ]
            with keras.StatelessScope(zip(variables, values)) as scope:
                outputs = function(*inputs)
            present[:] = [keras.tree.map_structure(_is_there, outputs)]
            flat = [x for x in keras.tree.flatten(outputs) if x is not None]
            return flat, [scope.get_current_value(v) for v in states]

        # A copy of the seeds, as torch moves them on in place.
        values = [
            ops.copy(v.value) if is_random_state(v) else v.value
            for v in variables
        ]
        flat, moved = keras.remat(pure)(values, *inputs)
        for variable, value in zip(states, moved):
            variable.assign(value)
        flat = iter(flat)
        return keras.tree.map_structure(
            lambda there: next(flat) if there else None, present[0]
        )

    return call


def _is_there(x):
    return x is not None


def is_random_state(variable):
    """Whether a variable is the state of a generator of random numbers."""
    return variable.path.endswith("seed_generator_state")
