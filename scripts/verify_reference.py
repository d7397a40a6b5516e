"""Checks our models against recorded outputs of the published ones.

    python scripts/verify_reference.py --fixtures DIR [--cases 'dapt_*']

Prints one line per case: name, what was compared, the largest difference in
units of its tolerance, and `ok`, `FAIL` or `unknown`. Exits with 1 unless
every case is ok.
"""

import fnmatch
import pathlib
import sys

from absl import app
from absl import flags

FIXTURES = flags.DEFINE_string(
    "fixtures", None, "Directory with one directory per case.", required=True
)
PATTERN = flags.DEFINE_string("cases", "*", "Which cases, as a file pattern.")
VERBOSE = flags.DEFINE_bool("verbose", False, "Also one line per comparison.")


def main(_):
    from keras_pointpeft.verification import verify

    directory = pathlib.Path(FIXTURES.value)
    cases = sorted(
        path.parent
        for path in directory.glob("*/manifest.json")
        if fnmatch.fnmatch(path.parent.name, PATTERN.value)
    )
    if not cases:
        raise app.UsageError(
            "No case (a directory with manifest.json and data.npz). "
            f"Received: --fixtures={directory} --cases={PATTERN.value}"
        )
    counts = {"ok": 0, "FAIL": 0, "unknown": 0}
    for path in cases:
        checks = verify(path)
        if checks is None:
            state, about = "unknown", "no code knows this case"
        else:
            passed = bool(checks) and all(check.ok for check in checks)
            state = "ok" if passed else "FAIL"
            about = _about(checks)
        counts[state] += 1
        print(f"{path.name:42} {about} {state}", flush=True)
        for check in checks or () if VERBOSE.value or state == "FAIL" else ():
            mark = "" if check.ok else "  <-- FAIL"
            print(
                f"    {check.what:32} {check.difference:.2e} of "
                f"{check.tolerance:.0e}{mark}",
                flush=True,
            )
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    sys.exit(0 if counts["ok"] == len(cases) else 1)


def _about(checks):
    if not checks:
        return "nothing compared"
    worst = max(
        checks,
        key=lambda c: c.difference / c.tolerance if c.tolerance else not c.ok,
    )
    return (
        f"{len(checks)} comparisons, nearest to its bound: {worst.what} "
        f"{worst.difference:.1e} of {worst.tolerance:.0e}"
    )


if __name__ == "__main__":
    app.run(main)
