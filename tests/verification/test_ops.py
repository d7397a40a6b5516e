import pathlib

import pytest

from keras_pointpeft.verification.ops import OPS_CASES
from keras_pointpeft.verification.ops import verify_ops_case

GOLDEN = pathlib.Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("name", OPS_CASES)
def test_equals_the_recorded_reference(name):
    results = verify_ops_case(GOLDEN / name)
    assert results
    bad = [entry for entry in results if not entry[1] <= entry[2]]
    assert not bad


def test_unknown_case(tmp_path):
    with pytest.raises(ValueError, match="Known cases.*Received"):
        verify_ops_case(tmp_path / "dapt_tiny")
