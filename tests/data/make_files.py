"""Writes `files/`: valid files of many kinds, by other libraries than ours.

The folder is committed; this script says where it comes from. It needs

    pip install open3d-cpu pymeshlab meshio trimesh pypcd4 pygltflib laszip \
        pandas plyfile pyntcloud

and is run as `python tests/data/make_files.py`. `files/expected.json` holds
what wrote each file, with its version, and what must be read from it; what
writes them is in `writers/`.
"""

import json

from writers import gltf
from writers import hand
from writers import meshes
from writers import points
from writers.contents import FOLDER
from writers.contents import expected


def main():
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for write in (
        points.arrays,
        points.texts,
        meshes.by_plyfile,
        points.by_pyntcloud,
        meshes.by_open3d,
        meshes.by_pymeshlab,
        meshes.by_meshio,
        meshes.by_trimesh,
        points.by_pypcd4,
        gltf.by_pygltflib,
        points.by_laszip,
        hand.by_hand,
    ):
        write()
    for extra in FOLDER.glob("*.mtl"):
        extra.unlink()
    text = json.dumps(expected, indent=0, sort_keys=True)
    (FOLDER / "expected.json").write_text(text + "\n")
    size = sum(f.stat().st_size for f in FOLDER.iterdir())
    print(len(expected), "files", size, "bytes")


if __name__ == "__main__":
    main()
