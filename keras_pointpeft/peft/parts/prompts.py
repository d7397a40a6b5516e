"""Prompts between class tokens and patches: put in and taken out."""

from keras import ops

from keras_pointpeft.ops.arithmetic import split_at


def insert_behind(tokens, prompts, first):
    """Puts prompts behind the first tokens of a sequence.

    Args:
        tokens: `(batch, tokens, dim)`.
        prompts: `(1 or batch, prompts, dim)`.
        first: int. How many tokens stay in front.

    Returns:
        `(batch, tokens + prompts, dim)`.
    """
    shape = (ops.shape(tokens)[0], *prompts.shape[1:])
    prompts = ops.broadcast_to(ops.cast(prompts, tokens.dtype), shape)
    if not first:
        return ops.concatenate((prompts, tokens), axis=1)
    front, rest = split_at(tokens, first)
    return ops.concatenate((front, prompts, rest), axis=1)


def remove_behind(tokens, count, first):
    """Takes `count` prompts behind the first tokens out again."""
    if not first:
        return tokens[:, count:]
    front, _, rest = split_at(tokens, first, first + count)
    return ops.concatenate((front, rest), axis=1)


def add_to_parts(tokens, first, count, to_prompts, to_patches):
    """Adds to prompts and patches what a layer each makes of them.

    Args:
        tokens: `(batch, tokens, dim)`: class tokens, prompts, patches.
        first: int. Number of class tokens.
        count: int. Number of prompts.
        to_prompts, to_patches: layers.

    Returns:
        `(batch, tokens, dim)`.
    """
    *front, prompts, patches = split_at(
        tokens, *((first,) if first else ()), first + count
    )
    prompts = prompts + to_prompts(prompts)
    parts = (*front, prompts, patches + to_patches(patches))
    return ops.concatenate(parts, axis=1)
