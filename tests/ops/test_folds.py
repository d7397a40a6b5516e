"""What the norms of a step take in is the same alone and together."""

import keras
import numpy as np
import pytest

if keras.config.backend() != "torch":
    pytest.skip("a way of torch", allow_module_level=True)

import torch

from keras_pointpeft.ops.accelerators.torch_step import StepFolds
from keras_pointpeft.ops.accelerators.torch_step import folded

WIDTHS = (4, 4, 7)


def norms():
    """Scale and shift of each norm, and those behind it, which train."""
    rng = np.random.default_rng(0)
    made = [
        [torch.tensor(rng.normal(size=width)) for _ in range(4)]
        for width in WIDTHS
    ]
    for _, _, scale, shift in made:
        scale.requires_grad_()
        shift.requires_grad_()
    return made


def run(folds, norms):
    """Pairs, and gradients of the sum of their squares."""
    with folds.step():
        pairs = [folded(*norm) for norm in norms]
        total = sum((x**2).sum() for pair in pairs for x in pair)
        leaves = [x for norm in norms for x in norm[2:]]
        return pairs, torch.autograd.grad(total, leaves)


def check(norms, pairs, gradients):
    gradients = iter(gradients)
    for norm, pair in zip(norms, pairs, strict=True):
        gamma, beta, scale, shift = (x.detach().numpy() for x in norm)
        factor, offset = gamma * scale, beta * scale + shift
        expected = (
            *(factor, offset),
            *(2 * factor * gamma + 2 * offset * beta, 2 * offset),
        )
        found = (*pair, next(gradients), next(gradients))
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.detach(), theirs, rtol=1e-12)


def nodes(pairs):
    return {x.grad_fn for pair in pairs for x in pair}


def test_the_next_step_makes_them_together():
    folds, ours = StepFolds(), norms()
    alone = run(folds, ours)
    together = run(folds, ours)
    for found, count in ((alone, len(WIDTHS)), (together, 1)):
        check(ours, *found)
        assert len(nodes(found[0])) == count
    # Variables move between steps, and norms come and go.
    with torch.no_grad():
        ours[1][2].add_(1.0)
    check(ours, *run(folds, ours))
    check(ours[1:], *run(folds, ours[1:]))
    pairs, gradients = run(folds, ours)
    check(ours, pairs, gradients)
    assert len(nodes(pairs)) == 2


def test_what_is_made_anew_is_not_expected():
    folds, ours = StepFolds(), norms()
    for _ in range(2):
        cast = [[x * 1.0 for x in norm] for norm in ours]
        with folds.step():
            pairs = [folded(*norm) for norm in cast]
        assert len(nodes(pairs)) == len(WIDTHS)


def test_outside_of_a_step():
    ours = norms()
    pairs = [folded(*norm) for norm in ours]
    assert len(nodes(pairs)) == len(WIDTHS)
