"""The files of a preset directory: written whole, and known by checksums."""

import errno
import json
import shutil
from pathlib import Path

import numpy as np

from keras_pointpeft.files.downloads import sha256_of
from keras_pointpeft.files.progress import telling
from keras_pointpeft.files.whole import whole_folder
from keras_pointpeft.version import __version__

METADATA = "metadata.json"
SECTION = "keras_pointpeft"
# Raised when older versions of this package could not read the files.
FORMAT = 1


@telling("saving the model")
def write(directory, save, model):
    """Writes a preset directory, whole or not at all.

    If anything fails, what was there stays. Files that an earlier call wrote
    and this one does not are removed; others stay.

    Args:
        directory: path.
        save: function that writes a preset into the folder it is given.
        model: the model that is saved.

    Raises:
        OSError: if the disk is full, or may not be written to.
    """
    directory = Path(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    _check_space(directory.parent, model)
    earlier = _section(directory) or {}
    # The checksums come last: a mixture is refused.
    with whole_folder(directory, last=METADATA) as folder:
        save(folder)
        _seal(folder)
        names = {path.name for path in folder.iterdir()}
    for name in set(earlier.get("sha256", ())) - names:
        (directory / name).unlink(missing_ok=True)


def check(directory, names):
    """Raises an error if files are not those that were saved.

    Args:
        directory: path.
        names: names of the files to check. Those that are not there are left
            to the caller.

    Returns:
        bool. False if the directory has no checksums: another program wrote
        it.

    Raises:
        ValueError: for a file that was changed, and for a directory of a
            later format.
    """
    directory = Path(directory)
    section = _section(directory)
    if section is None:
        return False
    found = section.get("format")
    if not isinstance(found, int) or not 1 <= found <= FORMAT:
        raise ValueError(
            f"This version of keras_pointpeft reads presets of format 1 to "
            f"{FORMAT}. Received: format={found!r} in {str(directory)!r}, "
            f"written by version {section.get('version')!r}"
        )
    sums = section.get("sha256")
    if not isinstance(sums, dict):
        raise ValueError(
            f"{METADATA} has no checksums where they should be. "
            f"Received: {str(directory)!r}"
        )
    for name in names:
        path = directory / name
        if path.is_file() and sha256_of(path) != sums.get(name):
            raise ValueError(
                f"{path} is not the file that was saved with this preset: it "
                "is damaged, or was changed. To change arguments, give them "
                "to `from_preset`. "
                f"Expected: sha256 {sums.get(name)}. Received: another one"
            )
    return True


def read_json(path):
    """The object in a JSON file.

    Raises:
        ValueError: if it holds none; names the file.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:  # also what is not text
        raise ValueError(f"{path} is not JSON. Received: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(
            f"{path} must hold an object. Received: {type(found).__name__}"
        )
    return found


def _check_space(folder, model):
    """Full disks are found early: on them, HDF5 ends the process."""
    values = sum(int(np.prod(v.shape)) for v in model.variables)
    # Four bytes each, and a kilobyte for the name of each variable.
    needed = 4 * values + 1024 * len(model.variables) + 2**16
    if shutil.disk_usage(folder).free < needed:
        raise OSError(
            errno.ENOSPC,
            f"No space left for a preset of about {needed:,} bytes",
            str(folder),
        )


def _seal(folder):
    path = folder / METADATA
    metadata = read_json(path) if path.is_file() else {}
    metadata[SECTION] = {
        "format": FORMAT,
        "version": __version__,
        "sha256": {
            file.name: sha256_of(file)
            for file in sorted(folder.iterdir())
            if file.name != METADATA
        },
    }
    path.write_text(json.dumps(metadata, indent=4), encoding="utf-8")


def _section(directory):
    path = directory / METADATA
    section = read_json(path).get(SECTION) if path.is_file() else None
    if section is not None and not isinstance(section, dict):
        raise ValueError(
            f"{path}: {SECTION!r} must be an object. Received: {section!r}"
        )
    return section
