"""Files and folders that take their names whole, or not at all.

Whatever this package writes for later is written beside its place and then
renamed: a full disk, an error or a kill leaves what was there before.
"""

import contextlib
import os
import shutil
import uuid
from pathlib import Path


@contextlib.contextmanager
def whole_file(path, flush=True):
    """Gives a path to write to, which then becomes the file.

    Its folder is made if it does not exist. The path given ends like the
    file's own.

    Args:
        path: path of the file.
        flush: bool. Whether it is on the disk before it has its name. That
            takes milliseconds, which add up for thousands of files; without,
            it may be empty after a power cut.

    Example:
    ```python
    with whole_file("log.csv") as place:
        place.write_text("epoch,loss\\n")
    ```
    """
    path = Path(path)
    with whole_files(path.parent, (path.name,), flush) as places:
        yield places[path.name]


@contextlib.contextmanager
def whole_files(directory, names, flush=True):
    """Gives paths for several files, which take their places together.

    Args:
        directory: path of their folder, which is made if need be.
        names: iterable of their names. They are renamed in this order.
        flush: see `whole_file`.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    places = {name: _beside(directory / name) for name in names}
    try:
        yield places
        for place in places.values() if flush else ():
            _flush(place)
        for name, place in places.items():
            os.replace(place, directory / name)
    finally:
        for place in places.values():
            place.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path, last=None):
    """Gives a folder to fill, which then becomes the folder at a path.

    If there is a folder by then, the files replace those of the same names
    and others stay.

    Args:
        path: path of the folder.
        last: optional string, the file that comes last. Without it, or with
            that of an earlier time, readers know that the rest is not whole.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = _beside(path)
    made.mkdir()
    try:
        yield made
        files = sorted(file for file in made.rglob("*") if file.is_file())
        for file in files:
            _flush(file)
        try:
            os.rename(made, path)
        except OSError:
            if not path.is_dir():
                raise
            for file in sorted(files, key=lambda file: file.name == last):
                place = path / file.relative_to(made)
                place.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, place)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def put(written, path):
    """Makes a file that was written whole the one at a path."""
    _flush(Path(written))
    os.replace(written, path)


def sweep(path):
    """Removes what writers of a file or folder that were killed have left.

    Not while another process may be writing it.

    Args:
        path: path of the file or folder.
    """
    path = Path(path)
    for left in path.parent.glob(f".part-*-{path.name}"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _beside(path):
    # Another name for every writer, and an ending that other programs know.
    return path.with_name(f".part-{uuid.uuid4().hex}-{path.name}")


def _flush(path):
    # A name may reach the disk before the contents do.
    with open(path, "r+b") as file:
        os.fsync(file.fileno())
