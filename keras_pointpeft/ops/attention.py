"""Attention over tokens."""

from keras import ops

from keras_pointpeft.ops import accelerators


def attention(query, key, value, mask=None, is_causal=False, scale=None):
    """`keras.ops.dot_product_attention`.

    On torch without the copies of query, key and value that Keras makes,
    which are views of one projection.

    Args:
        query: tensor `(batch, queries, heads, width)`.
        key: tensor `(batch, keys, heads, width)`.
        value: likewise.
        mask: optional boolean tensor `(batch or 1, 1, queries, keys)`, true
            where attention is allowed.
        is_causal: bool. Whether a token sees only those before it, and
            itself; not together with a mask.
        scale: optional float, of the scores. By default `width**-0.5`.

    Returns:
        tensor `(batch, queries, heads, width)`.
    """
    fast = accelerators.find("attention")
    if fast is not None and mask is None:
        return fast(query, key, value, is_causal, scale)
    # Without `flash_attention=False` Keras probes the device every call.
    return ops.dot_product_attention(
        query,
        key,
        value,
        mask=mask,
        is_causal=is_causal,
        scale=scale,
        flash_attention=False,
    )
