"""Recorded outputs and gradients of the published models."""

import pathlib

import keras
import numpy as np
import pytest

from keras_pointpeft.verification.case import Case
from keras_pointpeft.verification.case import verify
from keras_pointpeft.verification.ops import verify_ops_case

pytestmark = pytest.mark.long

CASES = sorted(
    path.parent
    for path in (pathlib.Path(__file__).parents[1] / "golden").glob(
        "*/manifest.json"
    )
)

# Each compiles for a quarter of a minute to minutes on jax, and every backend
# has another one of the same method: a recorded hierarchy that was fine-tuned
# and one that was pre-trained, Point-PEFT, GAPrompt and IDPT on Point-MAE, STAG
# and GFT, linear probing, DAPT and Point-GPT, each alone, and parts.
ONCE = (
    "act_bitfit_tiny",
    "dapt_pointgpt_tiny",
    "dapt_pointmae_tiny_train",
    "gaprompt_replacement_before_tiny",
    "gft_partseg_tiny",
    "idpt_mlp_promptcls_tiny",
    "pcpmae_linear_tiny",
    "pointm2ae_finetune_modelnet_tiny",
    "pointm2ae_partseg_small",
    "pointpeft_pointm2ae_tiny",
    "pointpeft_pointmae_fps_quirk",
    "pointpeft_cpfeature_tiny",
    "pointpeft_m2ae_cpfeature_tiny",
    "pointpeft_pointmae_tiny_train",
    "stag_sl_tiny",
)


def cases():
    for path in CASES:
        marks = pytest.mark.once if path.name in ONCE else ()
        yield pytest.param(path, id=path.name, marks=marks)


@pytest.mark.once
def test_what_runs_once_is_there():
    assert set(ONCE) <= {path.name for path in CASES}


@pytest.mark.parametrize("case", cases())
def test_case(case):
    # How a backend differentiates is tested with it; through these models it
    # takes minutes to compile on jax.
    checks = verify(case, gradients=keras.config.backend() == "torch")
    assert checks, "no code knows this case, or nothing was compared"
    failed = [str(check) for check in checks if not check.ok]
    assert not failed, "\n".join(failed)


def test_sets_of_points():
    """Any order is the same set; another point or multiplicity is not."""
    points = np.random.default_rng(0).normal(size=(2, 5, 3))
    points[:, 4] = points[:, 3]
    moved, doubled = points.copy(), points.copy()
    moved[0, 2, 1] += 1e-3
    doubled[0, 4] = points[0, 0]
    for ours, ok in (
        (points[:, ::-1], True),
        (points + 1e-7, True),
        (moved, False),
        (doubled, False),
    ):
        recorded = Case(CASES[0])
        recorded.close_sets("points", ours, 1e-5, points)
        assert all(check.ok for check in recorded.checks) == ok


@pytest.mark.once
def test_unknown_case(tmp_path):
    with pytest.raises(ValueError, match="Known cases.*Received"):
        verify_ops_case(tmp_path / "dapt_tiny")
