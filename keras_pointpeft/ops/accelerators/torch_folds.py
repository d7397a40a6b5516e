"""torch: what the norms of a step take in, for all of them at once.

A norm that is frozen takes in the scale and the shift behind it. That is two
operations on a few numbers, and two more for their gradients, for each of two
dozen norms: `StepFolds` makes them together, as lists that one operation works
on.
"""

from contextlib import contextmanager

import torch

# The `StepFolds` of the steps that run now, innermost last.
_ACTIVE = []


def folded(gamma, beta, scale, shift):
    """Scale and shift of a norm together with those behind it.

    Args:
        gamma: tensor `(channels,)`, the norm's own scale, without a gradient.
        beta: likewise, its shift.
        scale: tensor `(channels,)`, what follows the norm.
        shift: likewise.

    Returns:
        tuple of `gamma * scale` and `beta * scale + shift`.
    """
    tensors = (gamma, beta, scale, shift)
    known = _ACTIVE[-1].ask(tensors) if _ACTIVE else None
    return _Fold.apply(*tensors) if known is None else known


class StepFolds:
    """The pairs that the steps of one model ask for.

    What a step asked for is there when the next one begins.
    """

    def __init__(self):
        # By the tensors' ids, which are theirs as long as they are kept here.
        self._asked, self._made = {}, {}

    @contextmanager
    def step(self):
        """Around a step, forward and backward."""
        expected, self._asked = self._asked, {}
        # Now, and not within a block: what that computes again must not
        # depend on whether it is the first one.
        if expected:
            lists = zip(*expected.values())
            pairs = _Fold.apply(*(x for tensors in lists for x in tensors))
            half = len(expected)
            self._made = dict(zip(expected, zip(pairs[:half], pairs[half:])))
        _ACTIVE.append(self)
        try:
            yield
        finally:
            _ACTIVE.remove(self)
            self._made = {}

    def ask(self, tensors):
        """The pair if it was expected, or None."""
        key = tuple(map(id, tensors))
        # Of others, which are made anew each time, nothing is to be expected.
        if all(x.is_leaf for x in tensors):
            self._asked[key] = tensors
        return self._made.get(key)


class _Fold(torch.autograd.Function):
    """For several norms: all `gamma`, all `beta`, all `scale`, all `shift`."""

    @staticmethod
    def forward(ctx, *tensors):
        gammas, betas, scales, shifts = _quarters(tensors)
        ctx.save_for_backward(*gammas, *betas)
        return (
            *torch._foreach_mul(gammas, scales),
            *torch._foreach_addcmul(shifts, betas, scales),
        )

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *gradients):
        half = len(gradients) // 2
        to_scale, to_shift = gradients[:half], gradients[half:]
        gammas, betas = ctx.saved_tensors[:half], ctx.saved_tensors[half:]
        to_scale = torch._foreach_mul(to_scale, gammas)
        torch._foreach_addcmul_(to_scale, to_shift, betas)
        return (*(None,) * (2 * half), *to_scale, *to_shift)


def _quarters(tensors):
    count = len(tensors) // 4
    return [tensors[i * count : (i + 1) * count] for i in range(4)]
