import contextlib
import io
import pathlib
import runpy
import sys
import traceback
from dataclasses import dataclass

import pytest
from absl import app
from absl import flags

from tests.listening import listening

# Once in a process, before any script does.
app.define_help_flags()
ROOT = pathlib.Path(__file__).parents[2]


@dataclass
class Finished:
    """What a script left behind."""

    returncode: int
    stdout: str
    stderr: str


def finish(path):
    """Runs a script with the arguments in `sys.argv`, as Python would.

    In this process: another one imports Keras and a backend first, which is
    most of the time that the scripts take here.
    """
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(path, run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
            if isinstance(code, str):
                err.write(code)
                code = 1
        except Exception:
            traceback.print_exc()
            code = 1
    # Two scripts may have flags of one name; absl knows them by the path.
    for flag in list(flags.FLAGS.flags_by_module_dict().get(path, ())):
        delattr(flags.FLAGS, flag.name)
    flags.FLAGS.unparse_flags()
    return Finished(code, out.getvalue(), err.getvalue())


@pytest.fixture
def run_script(tmp_path, monkeypatch):
    """Runs a script as a user does, in an empty folder.

    Whatever in it can take long must say so.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(name, *arguments, check=True):
        path = ROOT / "scripts" / name
        monkeypatch.setattr(sys, "argv", [str(path), *arguments])
        monkeypatch.syspath_prepend(path.parent)
        with listening() as heard:
            process = finish(str(path))
        assert not heard.silent, heard.silent
        if check and process.returncode != 0:
            raise AssertionError(
                f"exit status {process.returncode}\n"
                f"{process.stdout}{process.stderr}"
            )
        return process

    return run
