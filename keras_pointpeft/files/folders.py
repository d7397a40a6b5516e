"""The files below a folder, as sets of clouds and predictions find them."""

import os

# What file managers leave behind.
_SYSTEM = ("thumbs.db", "desktop.ini")


def files_below(folder, above=()):
    """All files in a folder and in those below it, by the alphabet.

    Linked folders are gone into like others. A link to a folder that holds
    the link itself is left out: its files are there already. So is what is
    hidden, by a dot or by two underscores, or is a file manager's.

    Args:
        folder: path.
        above: tuple of strings, the true places of the folders that led here.

    Yields:
        Paths, strings.
    """
    here = os.path.realpath(folder)
    if any((way + os.sep).startswith(here + os.sep) for way in above):
        return
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    entries = [entry for entry in entries if not hidden(entry.name)]
    for entry in entries:
        if not entry.is_dir():
            yield os.path.join(folder, entry.name)
    for entry in entries:
        if entry.is_dir():
            place = os.path.join(folder, entry.name)
            yield from files_below(place, (*above, here))


def folders_in(folder):
    """The names of the folders in one, without hidden ones."""
    if not os.path.isdir(folder):
        return []
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.is_dir() and not hidden(entry.name)
    )


def hidden(name):
    """Whether a file or folder of this name is no part of a set."""
    return name.startswith((".", "__")) or name.lower() in _SYSTEM
