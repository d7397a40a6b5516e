"""torch: random numbers of a seed that is a tensor.

Keras seeds a generator of the host with the state of a
`keras.random.SeedGenerator`, for which it waits for the device; a captured
step could not do so. Here the numbers are a function of that state and of
their place: [SplitMix64](https://doi.org/10.1145/2714064.2660195), the same
on every device.
"""

import torch

GOLDEN = 0x9E3779B97F4A7C15
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)
# Bits of a float32 in [0, 1).
BITS = 24


def uniform(shape, generator):
    """Numbers of [0, 1), float32; moves the generator on.

    Args:
        shape: tuple of ints.
        generator: `keras.random.SeedGenerator`.
    """
    state = generator.next().to(torch.int64)
    shape = torch.Size(shape)
    place = torch.arange(1, shape.numel() + 1, device=state.device)
    start = _mixed(_mixed(state[0]) + state[1])
    bits = _mixed(start + place * _signed(GOLDEN))
    bits = _shifted(bits, 64 - BITS)
    return (bits.to(torch.float32) * 2.0**-BITS).view(shape)


def _mixed(x):
    for shift, factor in zip(SHIFTS, FACTORS):
        x = (x ^ _shifted(x, shift)) * _signed(factor)
    return x ^ _shifted(x, SHIFTS[-1])


def _shifted(x, by):
    """Without the sign, which `>>` would copy."""
    return (x >> by) & ((1 << (64 - by)) - 1)


def _signed(number):
    """The int64 with the bits of an unsigned one."""
    return number - 2**64 if number >= 2**63 else number
