#!/usr/bin/env bash
# meshio 5.3.5 raises SystemExit where its reader does not take a file, not an
# Exception: `except Exception` in a program that reads a folder of files does
# not catch it, and one file ends the whole run. Seen: an OFF file with a colour
# per vertex ("COFF").
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install -q --no-cache-dir --target "$folder" "meshio==5.3.5" "numpy==2.4.6"
cd "$folder"
PYTHONPATH="$folder" python3 - <<'PYTHON'
import meshio

# A triangle with a colour per vertex, as Geomview's format has it.
TRIANGLE = """COFF
3 1 0
0 0 0 1 0 0 1
1 0 0 0 1 0 1
0 1 0 0 0 1 1
3 0 1 2
"""
with open("triangle.off", "w") as file:
    file.write(TRIANGLE)
found = "a mesh"
try:
    meshio.read("triangle.off")
except Exception as error:
    found = type(error).__name__
except SystemExit as error:
    found = f"SystemExit({error.code})"
print(meshio.__version__, "gives", found)
assert found == "SystemExit(1)", "it has changed"
PYTHON
