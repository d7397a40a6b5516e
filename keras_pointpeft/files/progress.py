"""What a long piece of work tells while it runs: a line every few seconds."""

import functools
import os
import sys
import threading
import time

# Seconds without a word, at most.
INTERVAL = 4.0
# Work that begins within so many seconds after other work goes on with its
# wait: a line is due as if there had been no gap.
PAUSE = 1.0

# The tasks that are running, the innermost one last.
_running = []
_changed = threading.Condition(threading.RLock())
_muted = 0
_speaker = None
# Since when nothing was said, and since when nothing has been done.
_quiet = _idle = 0.0


class Progress:
    """A piece of work that says how far it is, on stderr.

    Work that is over within `INTERVAL` seconds says nothing. Inside of
    another one, work that takes longer speaks in its place.

    Args:
        what: string, such as `"reading scans"`.
        total: optional int, how many steps there are: then the line has the
            time that is left.

    Example:

    ```python
    from keras_pointpeft.commands import Progress

    with Progress("counting clouds", total=3) as progress:
        for number in range(3):
            progress.advance(note=f"number {number}")
    ```
    """

    def __init__(self, what, total=None):
        self.what = what
        self.total = total
        self.done = 0
        self.note = ""

    def __enter__(self):
        global _quiet, _speaker
        self._begin = time.monotonic()
        with _changed:
            if not _running and self._begin - _idle > PAUSE:
                _quiet = self._begin
            _running.append(self)
            if _speaker is None:
                _speaker = threading.Thread(target=_speak, daemon=True)
                _speaker.start()
            _changed.notify_all()
        return self

    def __exit__(self, *error):
        global _idle
        with _changed:
            if self in _running:  # not of a process that was forked since
                _running.remove(self)
            _idle = time.monotonic()

    def advance(self, count=1, note=""):
        """Says that `count` more steps are done."""
        self.done += count
        self.note = note or self.note

    def line(self):
        """How far it is, in words."""
        seconds = time.monotonic() - self._begin
        words = [self.what]
        if self.total:
            words.append(f"{self.done:,} of {self.total:,}")
        elif self.done:
            words.append(f"{self.done:,}")
        if self.note:
            words.append(self.note)
        words.append(f"{clock(seconds)} so far")
        if left := self.left():
            words.append(left)
        return ", ".join(words)

    def left(self):
        """The time that is left, in words; empty if nobody can know."""
        if not self.total or not 0 < self.done < self.total:
            return ""
        seconds = time.monotonic() - self._begin
        left = seconds * (self.total - self.done) / self.done
        return f"about {clock(left)} left"


def _speak():
    """The one thread that says a line every `INTERVAL` seconds of any work."""
    global _speaker
    with _changed:
        while _running:
            now = time.monotonic()
            if now - _quiet < INTERVAL:
                _changed.wait(INTERVAL - (now - _quiet))
                continue
            old = [x for x in _running if now - x._begin >= INTERVAL]
            tell((old or _running)[-1].line())
        _speaker = None


def _forget():
    """A process that was forked has none of the threads."""
    global _changed, _speaker
    _changed, _speaker = threading.Condition(threading.RLock()), None
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def telling(what):
    """A decorator: a function that says every few seconds that it works.

    Args:
        what: string, such as `"making shapes"`.
    """

    def decorate(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with Progress(what):
                return function(*args, **kwargs)

        return wrapped

    return decorate


def track(items, what, total=None):
    """Goes through `items` and says how far it is; see `Progress`."""
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    with Progress(what, total) as progress:
        for item in items:
            yield item
            progress.advance()


def tell(line):
    """Writes a line for whoever waits, unless all is `silent`."""
    global _quiet
    with _changed:
        _quiet = time.monotonic()
        if not _muted:
            print(line, file=sys.stderr, flush=True)


class silent:
    """A context in which nothing is told, such as for all processes but one."""

    def __enter__(self):
        global _muted
        with _changed:
            _muted += 1

    def __exit__(self, *error):
        global _muted
        with _changed:
            _muted -= 1


def clock(seconds):
    """Seconds as `"1:05"` or `"2:01:05"`."""
    minutes, seconds = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}"
