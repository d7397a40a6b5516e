import contextlib
import io
import pathlib
import sys
import traceback
from dataclasses import dataclass

import pytest
from absl import app
from absl import flags

from tests.conftest import imported_script

ROOT = pathlib.Path(__file__).parents[2]


@dataclass
class Finished:
    """What a script left behind."""

    returncode: int
    stdout: str
    stderr: str


def finish(path, arguments):
    """Runs a script to its end by absl's own `app.run`.

    In this process: another one imports Keras and a backend first, which is
    most of the time that the scripts take here.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        imported_script(path) as module,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            app.run(module.main, argv=[path, *arguments])
        except SystemExit as end:
            code = end.code or 0
            if isinstance(code, str):
                err.write(code)
                code = 1
        except Exception:
            traceback.print_exc()
            code = 1
        finally:
            flags.FLAGS.unparse_flags()
    return Finished(code, out.getvalue(), err.getvalue())


@pytest.fixture
def run_script(tmp_path, monkeypatch):
    """Runs a script as a user does, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(name, *arguments, check=True):
        path = f"scripts/{name}"
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        process = finish(path, arguments)
        if check and process.returncode != 0:
            raise AssertionError(
                f"exit status {process.returncode}\n"
                f"{process.stdout}{process.stderr}"
            )
        return process

    return run
