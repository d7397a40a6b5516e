"""How a layer calls the layers that it is made of."""


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
