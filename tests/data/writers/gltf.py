"""What glTF allows beside lists of triangles, by pygltflib."""

import struct

import numpy as np
import pygltflib
from writers.contents import CLOUD
from writers.contents import VERTICES
from writers.contents import cloud
from writers.contents import mesh
from writers.contents import version


def gltf(name, positions, nodes, mode, extra=None, **accessor):
    """One accessor of positions, in a file of pygltflib."""
    document = pygltflib.GLTF2(
        scene=0,
        scenes=[pygltflib.Scene(nodes=list(range(len(nodes))))],
        nodes=[pygltflib.Node(mesh=0, **node) for node in nodes],
        meshes=[
            pygltflib.Mesh(
                primitives=[
                    pygltflib.Primitive(
                        attributes=pygltflib.Attributes(POSITION=0), mode=mode
                    )
                ]
            )
        ],
        accessors=[
            pygltflib.Accessor(
                bufferView=0, count=len(positions), type="VEC3", **accessor
            )
        ],
        bufferViews=[
            pygltflib.BufferView(
                buffer=0, byteOffset=0, byteLength=positions.nbytes
            )
        ],
    )
    blob = positions.tobytes()
    if extra is not None:
        sparse, more = extra
        document.accessors[0].sparse = sparse
        for part in more:
            document.bufferViews.append(
                pygltflib.BufferView(
                    buffer=0, byteOffset=len(blob), byteLength=len(part)
                )
            )
            blob += part + bytes(-len(part) % 4)
    if accessor["componentType"] != pygltflib.FLOAT:
        document.bufferViews[0].byteStride = positions.strides[0]
        document.extensionsUsed = ["KHR_mesh_quantization"]
        document.extensionsRequired = ["KHR_mesh_quantization"]
    document.buffers = [pygltflib.Buffer(byteLength=len(blob))]
    document.set_binary_blob(blob)
    document.save(name)


def by_pygltflib():
    writer = version("pygltflib")
    fan = VERTICES[[8, 4, 5, 6, 7]].astype("<f4")
    rows = np.array([(0, 1, 2), (0, 2, 3), (0, 3, 4)])
    single = {"componentType": pygltflib.FLOAT}
    gltf(
        mesh("fan.glb", writer, fan.astype("f8"), rows),
        fan, [{}], pygltflib.TRIANGLE_FAN, **single,
    )  # fmt: skip
    strip = VERTICES[[0, 1, 3, 2, 6]].astype("<f4")
    rows = np.array([(0, 1, 2), (1, 2, 3), (2, 3, 4)])
    gltf(
        mesh("strip.glb", writer, strip.astype("f8"), rows),
        strip, [{}], pygltflib.TRIANGLE_STRIP, **single,
    )  # fmt: skip
    points = CLOUD.astype("<f4")
    gltf(
        cloud("two_sets.glb", writer, np.r_[CLOUD, CLOUD + (20, 0, 0)]),
        points, [{}, {"translation": [20, 0, 0]}], pygltflib.POINTS, **single,
    )  # fmt: skip
    whole = np.zeros((3, 4), "<i2")
    whole[:, :3] = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)]) * 32767
    three = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)], "f8")
    both = np.r_[three, three * 3 + (4, 0, 0)]
    gltf(
        mesh("quantised.glb", writer, both, np.arange(6).reshape(2, 3)),
        whole, [{}, {"translation": [4, 0, 0], "scale": [3, 3, 3]}],
        pygltflib.TRIANGLES,
        componentType=pygltflib.SHORT, normalized=True,
    )  # fmt: skip
    moved = three.copy()
    moved[1] = 3, 0, 0
    sparse = pygltflib.Sparse(
        count=1,
        indices=pygltflib.AccessorSparseIndices(
            bufferView=1, componentType=pygltflib.UNSIGNED_SHORT
        ),
        values=pygltflib.AccessorSparseValues(bufferView=2),
    )
    more = (struct.pack("<H", 1), struct.pack("<3f", 3, 0, 0))
    gltf(
        mesh("sparse.glb", writer, moved, np.array([(0, 1, 2)])),
        three.astype("<f4"), [{}], pygltflib.TRIANGLES, (sparse, more),
        **single,
    )  # fmt: skip
