import io
import os
import pickle
import subprocess

import numpy as np
import pytest

from keras_pointpeft.data.restricted_pickle import load_arrays

pytestmark = pytest.mark.once

ARRAYS = {
    "plain": np.arange(12, dtype="float32").reshape(4, 3),
    "fortran": np.asfortranarray(np.arange(12.0).reshape(4, 3)),
    "turned": np.arange(24).reshape(2, 3, 4).transpose(1, 0, 2),
    "view": np.arange(20)[::3],
    "big endian": np.arange(5, dtype=">i4"),
    "bytes": np.array([b"ab", b"c"]),
    "text": np.array(["ab", "cde"]),
    "bool": np.array([True, False]),
    "empty": np.zeros((0, 3), "float32"),
    "scalar": np.float32(2.5),
    "zero axes": np.array(7),
    "shape": (np.zeros((2, 3)), [1, "two", None, 3.0, True], {4, 5}),
    "bytearray": bytearray(b"abc"),
    "frozen": frozenset([1]),
}


def write(path, content):
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_and_containers(tmp_path, name, protocol):
    content = {"value": [ARRAYS[name]] * 2}
    content = pickle.dumps(content, protocol)
    got = load_arrays(write(tmp_path / "a.dat", content))["value"]
    assert got[0] is got[1]
    assert_equal(got[0], pickle.loads(content)["value"][0])


def assert_equal(got, expected):
    if isinstance(expected, (np.ndarray, np.generic)):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)
    elif isinstance(expected, tuple):
        assert len(got) == len(expected)
        for one, other in zip(got, expected):
            assert_equal(one, other)
    else:
        assert got == expected


@pytest.mark.parametrize("module", [b"numpy.core", b"numpy._core"])
@pytest.mark.parametrize("protocol", [2, 3])
def test_module_names_of_both_numpy_versions(tmp_path, module, protocol):
    expected = np.arange(6, dtype="float32")
    content = pickle.dumps(expected, protocol)
    content = content.replace(b"numpy._core", module)
    content = content.replace(b"numpy.core", module)
    assert module + b".multiarray" in content
    got = load_arrays(write(tmp_path / "a.dat", content))
    np.testing.assert_array_equal(got, expected)


def test_python_2_strings(tmp_path):
    # What Python 2 and numpy 1 wrote for np.array([1, 2], "<i2").
    content = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\n"
        b"tR(I1\n(I2\ntcnumpy\ndtype\n(S'i2'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\n"
        b"I-1\nI0\ntbI00\nS'\\x01\\x00\\x02\\x00'\ntb."
    )
    got = load_arrays(write(tmp_path / "a.dat", content))
    assert got.dtype == "<i2" and got.tolist() == [1, 2]


class Runs:
    """Runs a function when it is unpickled."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "function, name",
    [
        (os.system, "system"),
        (os.mkdir, "mkdir"),
        (eval, "eval"),
        (exec, "exec"),
        (getattr, "getattr"),
        (open, "open"),
        (subprocess.check_output, "check_output"),
        (np.load, "numpy.load"),
        (np.fromfile, "fromfile"),
        (io.BytesIO, "BytesIO"),
        (pickle.loads, "loads"),
    ],
)
def test_code_is_not_run(tmp_path, function, name, protocol):
    made = tmp_path / "made"
    bad = [np.zeros(3), Runs(function, str(made))]
    path = write(tmp_path / "a.dat", pickle.dumps(bad, protocol))
    with pytest.raises(pickle.UnpicklingError, match=name):
        load_arrays(path)
    assert not made.exists()


OBJECTS = [np.array([{}, []], object), np.zeros(2, [("a", "f4")])]


@pytest.mark.parametrize("content", OBJECTS)
def test_arrays_of_objects_are_refused(tmp_path, content):
    path = write(tmp_path / "a.dat", pickle.dumps(content))
    with pytest.raises(pickle.UnpicklingError, match="dtype|structured"):
        load_arrays(path)


@pytest.mark.parametrize(
    "content",
    [
        # numpy.ndarray called with a shape: would allocate 2^40 values.
        b"cnumpy\nndarray\n((I1099511627776\ntt R.".replace(b" ", b""),
        # _reconstruct with the same shape.
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        b"(I1099511627776\ntS'b'\ntR.",
        # A state whose shape is larger than its bytes.
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\n"
        b"tR(I1\n(I1099511627776\ntcnumpy\ndtype\n(S'i2'\nI0\nI1\ntRI00\n"
        b"S'\\x01\\x00'\ntb.",
        b"cbuiltins\nbytearray\n(I1099511627776\ntR.",
        # State for a name, not for what it made.
        b"cnumpy\ndtype\n(dS'_maker'\nI1\nsb.",
    ],
)
def test_shapes_without_content_are_refused(tmp_path, content):
    with pytest.raises((ValueError, pickle.UnpicklingError), match="Received"):
        load_arrays(write(tmp_path / "a.dat", content))


def test_truncated_file(tmp_path):
    content = pickle.dumps([np.arange(100.0)])
    for length in range(0, len(content), 97):
        path = write(tmp_path / "a.dat", content[:length])
        with pytest.raises((ValueError, pickle.UnpicklingError), match="a.dat"):
            load_arrays(path)


def test_file_size_is_limited(tmp_path):
    path = write(tmp_path / "a.dat", pickle.dumps(np.arange(100.0)))
    with pytest.raises(ValueError, match="max_bytes"):
        load_arrays(path, max_bytes=100)
