"""Recorded outputs and gradients of the published models."""

import pathlib

import pytest

from keras_pointpeft.checkpoints.reference import verify

CASES = sorted(
    path.parent
    for path in (pathlib.Path(__file__).parents[1] / "golden").glob(
        "*/manifest.json"
    )
)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_case(case):
    checks = verify(case)
    assert checks, "no code knows this case, or nothing was compared"
    failed = [str(check) for check in checks if not check.ok]
    assert not failed, "\n".join(failed)
