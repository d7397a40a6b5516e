"""Checks of the generators' arguments."""

import operator


def checked_integer(name, value, least):
    """The integer, or an error that names the argument.

    Args:
        name: of the argument.
        value: anything with an index, such as a Python or NumPy integer.
        least: the smallest value allowed.

    Raises:
        ValueError: below `least`.
        TypeError: not an integer.
    """
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(
            f"`{name}` must be an integer. Received: {name}={value!r}"
        ) from None
    if number < least:
        raise ValueError(
            f"`{name}` must be at least {least}. Received: {name}={value!r}"
        )
    return number
