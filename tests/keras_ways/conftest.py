import pytest

from tests.keras_ways import promise


@pytest.fixture
def case(tmp_path):
    return promise.Case(promise.make_task(), tmp_path)
