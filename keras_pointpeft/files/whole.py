"""Writing files whole or not at all."""

import uuid


def write_whole(directory, writers):
    """Writes files beside their places, and then puts all in place.

    Args:
        directory: `pathlib.Path`.
        writers: dict from names to functions that write the file they get.
    """
    written = {}
    try:
        for name, write in writers.items():
            temporary = directory / f".{name}.{uuid.uuid4().hex}"
            written[name] = temporary
            write(temporary)
        for name, temporary in written.items():
            temporary.replace(directory / name)
    finally:
        for temporary in written.values():
            temporary.unlink(missing_ok=True)
