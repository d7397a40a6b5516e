"""Unpacking of archives that nobody has checked."""

import os
import tarfile
import zipfile
from pathlib import Path

from keras_pointpeft.files.progress import telling
from keras_pointpeft.files.whole import whole_file

# What an archive may unpack to, and by how much it may grow.
MAX_BYTES = 200 * 2**30
MAX_RATIO = 200
_SMALL = 64 * 2**20


class UnsafeArchive(ValueError):
    """An archive holds something that must not be unpacked."""


@telling("unpacking")
def unpack(archive, folder, max_bytes: int = MAX_BYTES) -> list[Path]:
    """Unpacks a .zip or .tar archive without leaving its folder.

    All entries are looked at before the first is written. Refused are paths
    that are absolute or climb out, links, devices, an archive that claims to
    unpack to more than `max_bytes` or to implausibly more than its own size,
    and an entry that grows beyond what it claims.

    Args:
        archive: path of the archive.
        folder: path of the folder to unpack into; made if it does not exist.
        max_bytes: int.

    Returns:
        List of the paths of the files.

    Raises:
        UnsafeArchive: naming the entry. Nothing was written.
        ValueError: the file is no whole archive.

    Example:

    ```python
    from keras_pointpeft.data.archives import unpack

    unpack("shapenetpart.zip", "ShapeNetPart")
    ```
    """
    folder = Path(folder).resolve()
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                return _unpack_zip(opened, archive, folder, max_bytes)
        with tarfile.open(archive) as opened:
            return _unpack_tar(opened, archive, folder, max_bytes)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(
            f"{archive} is no complete .zip or .tar archive. Received: {error}"
        ) from error


def _unpack_zip(opened, archive, folder, max_bytes):
    entries = []
    for info in opened.infolist():
        kind = (info.external_attr >> 16) & 0o170000
        if kind not in (0, 0o100000, 0o040000):
            raise _unsafe(archive, info.filename, "no plain file")
        entries.append((info.filename, info.is_dir(), info.file_size, info))
    return _write(entries, opened.open, archive, folder, max_bytes)


def _unpack_tar(opened, archive, folder, max_bytes):
    entries = []
    for member in opened:
        if not (member.isfile() or member.isdir()):
            raise _unsafe(archive, member.name, "no plain file")
        entries.append((member.name, member.isdir(), member.size, member))
    return _write(entries, opened.extractfile, archive, folder, max_bytes)


def _write(entries, open_entry, archive, folder, max_bytes):
    places = [_place(archive, name, folder) for name, *_ in entries]
    total = sum(size for _, _, size, _ in entries)
    stored = os.path.getsize(archive)
    if total > max_bytes or total > max(_SMALL, MAX_RATIO * stored):
        raise UnsafeArchive(
            f"{archive} claims to unpack to {total} bytes, too many for its "
            f"{stored}. Received: {len(entries)} entries"
        )
    written = []
    for (name, is_folder, size, entry), place in zip(entries, places):
        if is_folder:
            place.mkdir(parents=True, exist_ok=True)
            continue
        with whole_file(place, flush=False) as part:
            with open_entry(entry) as source, open(part, "wb") as target:
                _copy(source, target, size, archive, name)
        written.append(place)
    return written


def _copy(source, target, size, archive, name):
    left = size
    while chunk := source.read(min(left + 1, 1 << 20)):
        left -= len(chunk)
        if left < 0:
            raise _unsafe(archive, name, "larger than it claims to be")
        target.write(chunk)
    if left:
        raise ValueError(
            f"{archive}: {name!r} ends early. Received: {size - left} of "
            f"{size} bytes"
        )


def _place(archive, name, folder):
    """Where an entry goes, which must lie in the folder."""
    clean = name.replace("\\", "/")
    place = (folder / clean).resolve()
    climbs = ".." in clean.split("/") or ":" in clean.split("/")[0]
    if clean.startswith("/") or climbs or not place.is_relative_to(folder):
        raise _unsafe(archive, name, "outside of the folder")
    return place


def _unsafe(archive, name, why):
    return UnsafeArchive(
        f"{archive} holds an entry that is {why}; nothing of it is trusted. "
        f"Received: {name!r}"
    )
