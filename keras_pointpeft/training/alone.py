"""One run at a time in a directory."""

import contextlib
import os

from absl import logging
from filelock import FileLock
from filelock import Timeout

from keras_pointpeft.ops import replicas
from keras_pointpeft.training import parallel

# It stays; what is locked is not that there is a file but that a process has
# it open, which ends with the process, however it ends.
LOCK_FILE = ".run.lock"


@contextlib.contextmanager
def alone_in(log_dir):
    """A context in which no other run may write to a directory.

    Of processes that train together, the first stands for all of them.

    Args:
        log_dir: path of the directory, made if it does not exist. None for a
            run that writes nothing.

    Yields:
        `log_dir`.

    Raises:
        ValueError: if another run is under way there.

    Example:
    ```python
    from keras_pointpeft import training

    with training.alone_in("runs/mine"):
        state = training.TrainingCheckpoint(
            "runs/mine/state.npz", {"data": "mine"}
        )
    ```
    """
    if log_dir is None:
        yield None
        return
    os.makedirs(log_dir, exist_ok=True)
    with contextlib.ExitStack() as stack:
        free = True
        if parallel.writes():
            lock = FileLock(os.path.join(log_dir, LOCK_FILE), timeout=0)
            try:
                stack.enter_context(lock)
            except Timeout:
                free = False
            except NotImplementedError:
                logging.warning(
                    "The file system of %s has no locks: nothing keeps a "
                    "second run from writing there.",
                    log_dir,
                )
        if replicas.mean_of_numbers([float(free)]) != [1.0]:
            raise ValueError(
                "Another run is writing to this directory, and both would "
                "mix there. Wait until it has ended, end it, or take another "
                f"directory (--output). Received: log_dir={str(log_dir)!r}"
            )
        yield log_dir
