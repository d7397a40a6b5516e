"""What a long piece of work tells while it runs: a line every few seconds."""

import functools
import sys
import threading
import time

# Seconds without a word, at most.
INTERVAL = 4.0

# The tasks that are running; only the innermost one reports.
_running = []
_lock = threading.RLock()
_muted = 0


class Progress:
    """A piece of work that says how far it is, on stderr.

    Work that is over within `INTERVAL` seconds says nothing. Inside of
    another one, it speaks in its place.

    Args:
        what: string, such as `"reading scans"`.
        total: optional int, how many steps there are: then the line has the
            time that is left.

    Example:

    ```python
    with Progress("reading scans", total=len(paths)) as progress:
        for path in paths:
            read(path)
            progress.advance()
    ```
    """

    def __init__(self, what, total=None):
        self.what = what
        self.total = total
        self.done = 0
        self.note = ""
        self._over = threading.Event()

    def __enter__(self):
        self._begin = time.monotonic()
        with _lock:
            _running.append(self)
        self._thread = threading.Thread(target=self._speak, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._over.set()
        with _lock:
            _running.remove(self)

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

    def _speak(self):
        while not self._over.wait(INTERVAL):
            with _lock:
                if (
                    _running
                    and _running[-1] is self
                    and not self._over.is_set()
                ):
                    tell(self.line())


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
    with _lock:
        if not _muted:
            print(line, file=sys.stderr, flush=True)


class silent:
    """A context in which nothing is told, such as for all processes but one."""

    def __enter__(self):
        global _muted
        with _lock:
            _muted += 1

    def __exit__(self, *error):
        global _muted
        with _lock:
            _muted -= 1


def clock(seconds):
    """Seconds as `"1:05"` or `"2:01:05"`."""
    minutes, seconds = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}"
