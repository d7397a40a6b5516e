"""How a layer runs its parts: called with little ado, or computed again."""

import weakref

import keras
from keras import ops

from keras_pointpeft.layers.basic import Dropout
from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.arithmetic import affine
from keras_pointpeft.ops.arithmetic import gelu

MODES = ("none", "elementwise", "block")


def part_call(part, *inputs, **kwargs):
    """Calls a layer that is a part of the calling one.

    Keras' own call of a layer binds arguments, looks for masks, casts inputs
    and opens scopes, all of which the outer layer's call has done. Twelve
    blocks of a dozen parts spend more time on that than small tensors need
    for the arithmetic. Parts with another policy than float32 may have to
    cast, or be quantized; these, and what is not built yet, Keras calls.

    Args:
        part: `keras.layers.Layer`.
        *inputs: tensors.
        **kwargs: further arguments. `training` is not found out from the
            call around this one, and must be among them where it matters.

    Returns:
        What the layer returns.
    """
    if part.built and part.dtype_policy.name == "float32":
        return part.call(*inputs, **kwargs)
    return part(*inputs, **kwargs)


def check_remat(mode):
    if mode not in MODES:
        raise ValueError(
            f"`remat` must be one of {MODES}. Received: remat={mode!r}"
        )


def recomputed(function):
    """`function`, of which the backward pass keeps the inputs alone.

    Args:
        function: from tensors to a tensor or a nest of tensors. It runs
            twice, so it must not assign to variables or draw at random.

    Returns:
        A function of the same tensors.
    """
    plain = keras.remat(function)
    fast = accelerators.find("recomputed")
    return plain if fast is None else fast(function, None, plain)


def recomputed_gelu(x, scale, shift):
    """The GELU of `affine`, of which the backward pass keeps `x` alone."""
    if scale is None:
        return gelu(affine(x, scale, shift))
    fast = accelerators.find("affine_gelu")
    if fast is None:
        fast = recomputed(lambda *inputs: gelu(affine(*inputs)))
    return fast(x, scale, shift)


def recomputed_layer(layer, function):
    """The same for a function that draws from a layer's random states.

    The second run draws what the first drew.

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


def remade(layer, make, use):
    """`make` and then `use`, without keeping what `make` returns.

    The backward pass keeps the input and runs `make` again. On torch, what
    `use` itself needs is kept; on the other backends `use` runs again too.

    Args:
        layer: built `keras.layers.Layer`, with what both need.
        make: from a tensor to one, without anything random.
        use: from that tensor to a nest of tensors and None.

    Returns:
        A function from a tensor to what `make` and `use` return.
    """
    fast = accelerators.find("remade")
    if fast is not None:
        return fast(make, use)

    def both(x):
        made = make(x)
        return made, use(made)

    return recomputed_layer(layer, both)


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
