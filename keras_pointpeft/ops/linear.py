"""The product with a matrix that is nearly all of a transformer's work."""

from keras import ops

from keras_pointpeft.ops import accelerators


def linear(x, kernel, bias=None):
    """`x @ kernel + bias`.

    On CPU the torch backend takes oneDNN's product where that needs less than
    three quarters of its default's time, as on some AMD processors; the last
    bits of float32 may then differ from the plain product's.

    Args:
        x: tensor `(..., inputs)`.
        kernel: tensor `(inputs, units)`.
        bias: optional tensor `(units,)`.

    Returns:
        tensor `(..., units)`.
    """
    fast = accelerators.find("linear")
    if fast is not None:
        return fast(x, kernel, bias)
    x = ops.matmul(x, kernel)
    return x if bias is None else x + bias
