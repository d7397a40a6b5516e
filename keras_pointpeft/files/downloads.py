"""Fetching published weights: checked, resumable, safe to run twice at once."""

import hashlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from absl import logging
from filelock import FileLock

from keras_pointpeft.files.progress import Progress
from keras_pointpeft.files.whole import put

MIRROR_VARIABLE = "KERAS_POINTPEFT_RELEASES"
CHUNK = 1 << 18
# Files that only a browser gets have no address; a mirror has them under this
# host, which does not exist.
BY_HAND = "by-hand.invalid"


class DownloadError(OSError):
    """A file could not be fetched, or is not the file that was asked for."""


def cache_directory():
    """Returns the folder of fetched files, under `KERAS_HOME` if that is set.

    Returns:
        `pathlib.Path`. The folder may not exist yet.
    """
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home).expanduser() / "keras_pointpeft"


def mirrored(url, mirror=None):
    """Returns `url` with its host replaced by a mirror's address.

    Args:
        url: string. The original address.
        mirror: string. An address such as `"https://mirror.example/github"`,
            or `"file:///data/releases"` for a local folder; the path of `url`
            is put behind it. Defaults to the environment variable
            `KERAS_POINTPEFT_RELEASES`; if that is not set, `url` is returned
            unchanged.
    """
    mirror = mirror or os.environ.get(MIRROR_VARIABLE)
    if not mirror:
        return url
    # Some release pages end with a slash, which no file does.
    path = urllib.parse.urlsplit(url).path.rstrip("/")
    return mirror.rstrip("/") + path


def sha256_of(path):
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(url, destination, sha256=None, mirror=None, timeout=30):
    """Downloads a file, unless it is already there.

    The file appears under its name only when it is complete and correct. An
    interrupted download goes on where it stopped when `fetch` is called
    again. Several processes may fetch the same file at once: one downloads,
    the others wait for it.

    Args:
        url: string. The address, `http`, `https` or `file`.
        destination: path of the file to write. Its folder is made if needed.
        sha256: string. The SHA-256 that the file must have. With `None`, that
            of the first download is kept beside the file, and a warning says
            if the file, or what the address sends, is another one later.
        mirror: string. See `mirrored`.
        timeout: float. Seconds without an answer after which to give up.

    Returns:
        `pathlib.Path` of the file.

    Raises:
        DownloadError: if the address does not answer, refuses, ends early, or
            sends a file with another SHA-256; if the file cannot be written.

    Example:
    ```python
    path = keras_pointpeft.files.downloads.fetch(
        "https://github.com/LMD0311/DAPT/releases/download/ckpt/modelnet.pth",
        "modelnet.pth",
    )
    ```
    """
    destination = Path(destination)
    url = mirrored(url, mirror)
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("http", "https", "file"):
        raise ValueError(
            "The address must start with http://, https:// or file://. "
            f"Received: url={url!r}"
        )
    # A cache may be filled and then be read-only: no lock is needed to read,
    # as files appear whole.
    found = sha256_of(destination) if sha256 and destination.exists() else None
    if destination.exists() and found == sha256:
        return _told_if_changed(destination, sha256)
    with _locked(destination):
        if destination.exists():
            found = sha256_of(destination) if sha256 else None
            if found == sha256:
                return _told_if_changed(destination, sha256)
            logging.warning(
                "%s has SHA-256 %s instead of %s: downloading it again.",
                destination,
                found,
                sha256,
            )
        part = Path(f"{destination}.part")
        _receive(url, part, destination, sha256, timeout)
        if sha256 and (found := sha256_of(part)) != sha256:
            _discard(part)
            raise DownloadError(
                f"{url} does not have the SHA-256 it should have; the file "
                f"was removed. Expected: {sha256}. Received: {found}"
            )
        put(part, destination)
        _discard(part)
        if sha256 is None and not _first_sum(destination).exists():
            _first_sum(destination).write_text(sha256_of(destination))
    return _told_if_changed(destination, sha256)


def _first_sum(destination):
    """Where the SHA-256 of the first download is kept."""
    return Path(f"{destination}.sha256")


def _told_if_changed(destination, sha256):
    """The path; a warning if the file is not what was first downloaded."""
    kept = _first_sum(destination)
    if sha256 is None and kept.exists():
        first, found = kept.read_text().strip(), sha256_of(destination)
        if first != found:
            logging.warning(
                "%s is not the file that was first downloaded: it had SHA-256 "
                "%s, and now has %s. Results may differ; delete %s if this is "
                "meant.",
                destination,
                first,
                found,
                kept,
            )
    return destination


def _locked(destination):
    """The lock of a file, taken, as a context."""
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(f"{destination}.lock").acquire()
    except OSError as error:
        raise DownloadError(
            "The folder of downloads cannot be written. Set KERAS_HOME to "
            "one that can, or put the file there by other means. "
            f"Received: {destination} ({error})"
        ) from error


def _receive(url, part, destination, sha256, timeout):
    """Writes the body of `url` to `part`, going on where `part` ends."""
    validator = _validator_path(part)
    start, headers = 0, {}
    # Go on only where a validator or a hash can tell that the file has not
    # changed since.
    if part.exists() and (validator.exists() or sha256):
        start = part.stat().st_size
        headers["Range"] = f"bytes={start}-"
        if validator.exists():
            headers["If-Range"] = validator.read_text()
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:  # nothing is left, or it has changed
            _discard(part)
            return _receive(url, part, destination, sha256, timeout)
        reason = f"the server answers {error.code} {error.reason}"
        raise DownloadError(_failure(url, destination, reason)) from error
    except (OSError, http.client.HTTPException) as error:
        reason = f"no answer ({getattr(error, 'reason', error)})"
        raise DownloadError(_failure(url, destination, reason)) from error
    with response:
        if _is_page(response):
            reason = "the server sends a web page in place of the file"
            raise DownloadError(_failure(url, destination, reason))
        resumed = start and getattr(response, "status", None) == 206
        start = start if resumed else 0
        _remember_validator(response, validator)
        total = _total(response, start)
        try:
            with open(part, "ab" if resumed else "wb") as file:
                reason = _copy(response, file, destination, start)
        except OSError as error:  # when the disk is full, for one
            reason = f"the file cannot be written ({error})"
    size = part.stat().st_size if part.exists() else 0
    if reason is None and total is not None and size != total:
        reason = "the connection ended early"
    if reason:
        expected = "an unknown number of" if total is None else total
        reason += f", with {size} of {expected} bytes; call again to go on"
        raise DownloadError(_failure(url, destination, reason))


def _is_page(response):
    """Whether a file has moved, or is only given to a browser."""
    kind = response.headers.get("Content-Type") or ""
    return kind.split(";")[0].strip().lower() == "text/html"


def _total(response, start):
    length = response.headers.get("Content-Length")
    return None if length is None else start + int(length)


def _copy(response, file, destination, start):
    """Writes what comes; returns why it broke off, or `None`."""
    left = _total(response, 0)
    with Progress(f"downloading {destination.name}, bytes", left) as told:
        while True:
            try:
                chunk = response.read(CHUNK)
            except (OSError, http.client.HTTPException) as error:
                return f"the connection broke ({error})"
            if not chunk:
                return None
            file.write(chunk)
            told.advance(len(chunk))


def _validator_path(part):
    return part.with_name(part.name + ".validator")


def _remember_validator(response, path):
    """Notes which version of the file the server is sending."""
    tag = response.headers.get("ETag")
    if tag is None or tag.startswith("W/"):  # a weak tag cannot be resumed
        tag = response.headers.get("Last-Modified")
    if tag is None:
        path.unlink(missing_ok=True)
    else:
        path.write_text(tag)


def _discard(part):
    part.unlink(missing_ok=True)
    _validator_path(part).unlink(missing_ok=True)


def _failure(url, destination, reason):
    return (
        f"Could not download {url}: {reason}.\n"
        "Ways on:\n"
        f"1) download the file by other means and put it at {destination}\n"
        f"2) set {MIRROR_VARIABLE} to the address of a mirror, or to "
        "file:// and a folder\n"
        "3) work without these weights: `load_weights=False`"
    )
