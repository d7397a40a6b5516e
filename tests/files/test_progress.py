import os
import re
import time

import pytest

from keras_pointpeft.files import progress

pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0.05)


def test_slow_work_tells_how_far_it_is_and_what_is_left(capsys):
    for _ in progress.track(range(4), "reading scans"):
        time.sleep(0.08)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 3
    assert all(line.startswith("reading scans, ") for line in lines)
    found = [re.search(r"(\d) of 4, 0:00 so far", line) for line in lines]
    done = [int(match[1]) for match in found]
    assert done == sorted(done) and done[-1] == 3
    assert "left" in lines[-1]


def test_quick_work_says_nothing(capsys):
    assert list(progress.track(range(4), "reading scans")) == [0, 1, 2, 3]
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_the_innermost_speaks(capsys):
    with progress.Progress("outer", total=2) as outer:
        with progress.Progress("inner"):
            capsys.readouterr()  # on a busy machine, the outer one has spoken
            time.sleep(0.12)
            inside = capsys.readouterr().err
        capsys.readouterr()
        outer.advance(note="one is over")
        time.sleep(0.12)
    outside = capsys.readouterr().err
    # On a busy machine the outer one is old before the inner one begins.
    assert inside.splitlines()[-1].startswith("inner, ")
    last = outside.splitlines()[-1]
    assert last.startswith("outer, 1 of 2, one is over")


def longest_silence(monkeypatch, work):
    """Seconds between two lines, at most, before the first and after."""
    times = [time.monotonic()]
    monkeypatch.setattr(
        "builtins.print", lambda *_, **__: times.append(time.monotonic())
    )
    work()
    times.append(time.monotonic())
    return max(b - a for a, b in zip(times, times[1:]))


def test_short_work_within_long_work_does_not_hush_it(monkeypatch):
    """One that is never old enough to speak is always under way."""

    def work():
        with progress.Progress("outer"):
            for _ in range(16):
                with progress.Progress("inner"):
                    time.sleep(0.04)

    assert longest_silence(monkeypatch, work) < 0.5


def test_short_work_in_a_row_is_long_work(monkeypatch):
    def work():
        for _ in range(16):
            with progress.Progress("one of many"):
                time.sleep(0.04)

    assert longest_silence(monkeypatch, work) < 0.5


def test_a_forked_process_can_work(capfd):
    if not hasattr(os, "fork"):
        pytest.skip("this system does not fork")
    with progress.Progress("outer"):
        child = os.fork()
        if child == 0:
            with progress.Progress("in the child"):
                time.sleep(0.12)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    assert "in the child" in capfd.readouterr().err


def test_an_error_ends_it(capsys):
    with pytest.raises(KeyError):
        with progress.Progress("failing"):
            raise KeyError("x")
    time.sleep(0.1)
    assert capsys.readouterr().err == ""


def test_silent(capsys):
    with progress.silent(), progress.Progress("working"):
        time.sleep(0.12)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "seconds, text", [(3.6, "0:04"), (65, "1:05"), (7265, "2:01:05")]
)
def test_clock(seconds, text):
    assert progress.clock(seconds) == text
