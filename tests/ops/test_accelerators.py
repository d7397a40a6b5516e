import runpy

import keras
import numpy as np
import pytest
from keras import ops as kops

from keras_pointpeft import ops
from keras_pointpeft.ops import accelerators
from keras_pointpeft.ops.accelerators import host

from . import clouds

FUNCTIONS = {
    "sample": lambda p: ops.farthest_point_sample(p, 40, skip_origin=True),
    "knn": lambda p: ops.knn(p[:, :20], p, 9),
}


def results(points):
    return {
        name: kops.convert_to_numpy(function(points))
        for name, function in FUNCTIONS.items()
    }


@pytest.mark.parametrize("kind", clouds.KINDS)
def test_every_path_gives_the_same_indices(kind):
    """The numbers of points fill blocks and do not; batch of 1 and more."""
    for batch, count in ((3, 150), (1, 128)):
        points = clouds.make(kind, batch, count, seed=4)
        found = [results(points)]
        for disabled in ("numba", "xla", "all"):
            with ops.disable_accelerators(disabled):
                found.append(results(points))
        for other in found[1:]:
            for name in FUNCTIONS:
                np.testing.assert_array_equal(other[name], found[0][name])


@pytest.mark.parametrize("kind", ["lattice", "duplicates", "uniform"])
def test_threads_share_a_batch(kind, monkeypatch):
    monkeypatch.setattr(host, "THREAD_WORK", 1)
    points = clouds.make(kind, 5, 70)
    for threads in (2, 16):
        np.testing.assert_array_equal(
            host.farthest_point_sample(points, 30, False, threads),
            host.farthest_point_sample(points, 30, False),
        )
        if host.numba_loops() is not None:
            np.testing.assert_array_equal(
                host.knn(points[:, :9], points, 5, threads),
                host.knn(points[:, :9], points, 5),
            )


def test_the_switch():
    assert accelerators.find("farthest_point_sample") is not None
    before = ops.accelerator_report()
    with ops.disable_accelerators():
        assert accelerators.find("farthest_point_sample") is None
        with ops.disable_accelerators("numba"):
            pass
        assert not accelerators.allowed("xla")
        report = ops.accelerator_report()
        assert set(report["knn"].values()) == {"keras.ops"}
    assert accelerators.allowed("xla")
    assert ops.accelerator_report() == before
    with pytest.raises(ValueError, match="numba.*Received: .*cuda"):
        ops.disable_accelerators("cuda")


def test_the_report_names_what_is_used():
    report = ops.accelerator_report()["farthest_point_sample"]
    expected = {"torch": "numba", "tensorflow": "tensorflow", "jax": "jax"}
    backend = keras.config.backend()
    if backend == "torch" and host.numba_loops() is None:
        expected["torch"] = "numpy"
    assert any(expected[backend] in path for path in report.values())


def test_the_environment_variable(monkeypatch):
    for value, missing in (("numba,xla", {"numba", "xla"}), ("all", None)):
        monkeypatch.setenv(accelerators.VARIABLE, value)
        # The module as a process finds it that starts with the variable set.
        allowed = runpy.run_path(accelerators.__file__)["allowed"]
        left = {kind for kind in accelerators.KINDS if allowed(kind)}
        assert left == (set(accelerators.KINDS) - missing if missing else set())
