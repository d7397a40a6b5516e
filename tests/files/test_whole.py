import os
import pathlib
import re

import pytest

from keras_pointpeft.files import whole

pytestmark = pytest.mark.once


def listing(folder):
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p.relative_to(folder)): p.read_text() for p in paths}


def test_a_file_is_there_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "log.csv"
    with whole.whole_file(path) as place:
        place.write_text("one")
        assert place.parent == path.parent and place.suffix == ".csv"
        assert not path.exists()
    assert listing(tmp_path) == {"deep/log.csv": "one"}


def test_an_error_leaves_the_file_as_it_was(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError):
        with whole.whole_file(path) as place:
            place.write_text("ne")
            raise RuntimeError
    assert listing(tmp_path) == {"log.csv": "old"}


def test_of_several_files_all_or_none(tmp_path):
    names = ("a", "b")
    with whole.whole_files(tmp_path, names) as places:
        for name in names:
            places[name].write_text(f"old {name}")
    with pytest.raises(FileNotFoundError):
        # The second is never written.
        with whole.whole_files(tmp_path, names) as places:
            places["a"].write_text("new a")
    assert listing(tmp_path) == {"a": "old a", "b": "old b"}


def test_a_folder_is_there_when_it_is_whole(tmp_path):
    path = tmp_path / "runs" / "preset"
    with whole.whole_folder(path) as made:
        (made / "inner").mkdir()
        (made / "inner" / "a").write_text("a")
        assert not path.exists()
    assert listing(tmp_path) == {"runs/preset/inner/a": "a"}
    with pytest.raises(RuntimeError):
        with whole.whole_folder(path) as made:
            (made / "b").write_text("b")
            raise RuntimeError
    assert listing(tmp_path) == {"runs/preset/inner/a": "a"}


def test_a_folder_joins_one_that_is_there(tmp_path, monkeypatch):
    path = tmp_path / "preset"
    path.mkdir()
    for name in ("a", "sums", "other"):
        (path / name).write_text("old")
    order, replace = [], os.replace

    def watched(written, place):
        order.append(os.path.basename(place))
        replace(written, place)

    monkeypatch.setattr(os, "replace", watched)
    with whole.whole_folder(path, last="a") as made:
        for name in ("a", "sums"):
            (made / name).write_text("new")
    assert listing(path) == {"a": "new", "sums": "new", "other": "old"}
    assert order == ["sums", "a"]
    assert os.listdir(tmp_path) == ["preset"]


def test_two_writers_of_one_folder(tmp_path):
    path = tmp_path / "cache"
    with whole.whole_folder(path) as slow:
        (slow / "a").write_text("same")
        with whole.whole_folder(path) as fast:
            (fast / "a").write_text("same")
    assert listing(tmp_path) == {"cache/a": "same"}


def test_a_folder_does_not_replace_a_file(tmp_path):
    path = tmp_path / "adapter"
    path.write_text("a file")
    with pytest.raises(OSError):
        with whole.whole_folder(path) as made:
            (made / "a").write_text("a")
    assert listing(tmp_path) == {"adapter": "a file"}


def test_what_a_killed_writer_left_is_swept(tmp_path):
    path = tmp_path / "state.npz"
    writer = whole.whole_file(path)
    writer.__enter__().write_text("half")
    folder = whole.whole_folder(tmp_path / "cache")
    folder.__enter__()
    path.write_text("whole")
    whole.sweep(path)
    whole.sweep(tmp_path / "cache")
    assert listing(tmp_path) == {"state.npz": "whole"}
    assert os.listdir(tmp_path) == ["state.npz"]


def test_put(tmp_path):
    part = tmp_path / "weights.pth.part"
    part.write_text("all of it")
    whole.put(part, tmp_path / "weights.pth")
    assert listing(tmp_path) == {"weights.pth": "all of it"}


def test_nothing_else_renames():
    """What is written for later goes through this file."""
    package = pathlib.Path(whole.__file__).parents[1]
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"\bos\.(replace|rename)\(", path.read_text("utf-8"))
    }
    assert found == {"files/whole.py"}
