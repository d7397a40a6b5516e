from tests.scripts.conftest import run_script

__all__ = ["run_script"]
