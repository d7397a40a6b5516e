"""Writes `files/`: valid files of many kinds, by other libraries than ours.

The folder is committed; this script says where it comes from. It needs

    pip install open3d-cpu pymeshlab meshio trimesh pypcd4 pygltflib laszip \\
        pandas plyfile pyntcloud

and is run as `python tests/data/make_files.py`. `files/expected.json` holds
what wrote each file, with its version, and what must be read from it.
"""

import csv
import importlib.metadata
import json
import pathlib
import struct

import meshio
import numpy as np
import open3d
import pandas
import plyfile
import pygltflib
import pymeshlab
import pyntcloud
import pypcd4
import trimesh

FOLDER = pathlib.Path(__file__).parent / "files"
# Map coordinates, where a format has the digits for them.
CORNER = np.array([400000.0, 5400000.0, 352.0])
_RNG = np.random.default_rng(0)
CLOUD = np.round(_RNG.uniform(0, [2, 1, 0.5], (40, 3)), 3)
LABELS = np.arange(40) % 3
# A cube of side 2 from quads with a pyramid on it, and a pentagon beside.
VERTICES = np.array(
    [
        (0, 0, 0), (2, 0, 0), (2, 2, 0), (0, 2, 0),
        (0, 0, 2), (2, 0, 2), (2, 2, 2), (0, 2, 2), (1, 1, 3),
        (3, 0, 0), (4, 0, 0), (4, 1, 0), (3.5, 1.5, 0), (3, 1, 0),
    ],
    "float64",
)  # fmt: skip
POLYGONS = [
    (0, 3, 2, 1), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7),
    (4, 5, 8), (5, 6, 8), (6, 7, 8), (7, 4, 8), (9, 10, 11, 12, 13),
]  # fmt: skip
TRIANGLES = np.array(
    [(p[0], p[i], p[i + 1]) for p in POLYGONS for i in range(1, len(p) - 1)]
)
# An arrow that turns back, and a square.
CONCAVE = np.array(
    [
        (0, 0, 0), (4, 0, 0), (4, 3, 0), (2, 1, 0), (0, 3, 0),
        (5, 0, 0), (6, 0, 0), (6, 1, 0), (5, 1, 0),
    ],
    "float64",
)  # fmt: skip
CONCAVE_POLYGONS = [(0, 1, 2, 3, 4), (5, 6, 7, 8)]
CONCAVE_TRIANGLES = np.array(
    [(0, 1, 3), (1, 2, 3), (0, 3, 4), (5, 6, 7), (5, 7, 8)]
)

expected = {}


def version(package):
    return f"{package} {importlib.metadata.version(package)}"


def cloud(name, writer, points=CLOUD, digits=1e-6, **more):
    expected[name] = {
        "writer": writer,
        "points": len(points),
        "min": np.min(points, axis=0).tolist(),
        "max": np.max(points, axis=0).tolist(),
        "mean": np.mean(points, axis=0).tolist(),
        "digits": digits,
        **more,
    }
    return str(FOLDER / name)


def mesh(name, writer, vertices=VERTICES, faces=TRIANGLES, **more):
    corners = vertices[faces]
    area = np.cross(
        corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    )
    expected[name] = {
        "writer": writer,
        "area": float(np.linalg.norm(area, axis=1).sum() / 2),
        "min": corners.min((0, 1)).tolist(),
        "max": corners.max((0, 1)).tolist(),
        "digits": 1e-6,
        **more,
    }
    return str(FOLDER / name)


def arrays():
    writer = version("numpy")
    np.save(cloud("f8_map.npy", writer, CLOUD + CORNER), CLOUD + CORNER)
    np.save(cloud("f4.npy", writer), CLOUD.astype("f4"))
    np.save(cloud("big_endian.npy", writer), CLOUD.astype(">f8"))
    np.save(cloud("fortran.npy", writer), np.asfortranarray(CLOUD))
    whole = np.rint(CLOUD * 1000).astype("i4")
    np.save(cloud("millimetres.npy", writer, whole), whole)
    half = CLOUD.astype("f2")
    np.save(cloud("half.npy", writer, half.astype("f8")), half)
    np.savez(
        cloud("named.npz", writer, labels=LABELS.tolist()),
        points=CLOUD, labels=LABELS,
    )  # fmt: skip
    np.savez_compressed(cloud("single.npz", writer), CLOUD)
    rows = np.c_[CLOUD, LABELS].astype("<f4")
    rows.tofile(cloud("kitti.bin", writer, bin_columns=4))
    np.c_[rows, LABELS].astype("<f4").tofile(
        cloud("nuscenes.bin", writer, bin_columns=5)
    )


def texts():
    writer = version("numpy")
    np.savetxt(cloud("spaces.txt", writer), CLOUD, "%.3f")
    np.savetxt(
        cloud("comment.txt", writer), CLOUD, "%.3f",
        header="a tool, version 2\nX Y Z",
    )  # fmt: skip
    np.savetxt(
        cloud("cloudcompare.asc", writer, labels=LABELS.tolist()),
        np.c_[CLOUD, LABELS], "%.3f %.3f %.3f %d",
        header="//X Y Z Classification", comments="",
    )  # fmt: skip
    np.savetxt(
        cloud("scalar_field.txt", writer, CLOUD + CORNER),
        np.c_[CLOUD + CORNER, LABELS * 255], "%.3f,%.3f,%.3f,%.1f",
        header="//X,Y,Z,Scalar_field", comments="",
    )  # fmt: skip
    np.savetxt(cloud("tabs.xyz", writer), CLOUD, "%.3f", delimiter="\t")
    name = cloud("leica.pts", writer, CLOUD + CORNER)
    np.savetxt(
        name, np.c_[CLOUD + CORNER, -LABELS, LABELS, LABELS, LABELS],
        "%.3f %.3f %.3f %d %d %d %d", header="40", comments="",
    )  # fmt: skip
    with open(cloud("two_sets.pts", writer), "w") as file:
        for part in (CLOUD[:25], CLOUD[25:]):
            np.savetxt(
                file, part, "%.3f", header=str(len(part)), comments=""
            )
    writer = version("pandas")
    table = pandas.DataFrame(CLOUD, columns=["x", "y", "z"])
    table.to_csv(cloud("plain.csv", writer), index=False)
    table.to_csv(cloud("indexed.csv", writer), index_label="id")
    table.assign(label=LABELS, site="north").to_csv(
        cloud("labelled.csv", writer, labels=LABELS.tolist()), index=False
    )
    table.rename(columns=str.upper).to_csv(
        cloud("semicolons.csv", writer), index=False, sep=";"
    )
    table.to_csv(
        cloud("decimal_comma.csv", writer), index=False, sep=";", decimal=","
    )
    table[["z", "x", "y"]].to_csv(
        cloud("order.txt", writer), index=False, sep="\t"
    )
    table.to_csv(cloud("headless.csv", writer), index=False, header=False)
    path = cloud("quoted.csv", "Python csv")
    with open(path, "w", newline="") as file:
        rows = csv.writer(file, quoting=csv.QUOTE_ALL)
        rows.writerow(["Easting", "Northing", "Height"])
        rows.writerows(CLOUD.tolist())


    far = pandas.DataFrame(CLOUD + CORNER, columns=["X [m]", "Y [m]", "Z [m]"])
    german = {"index": False, "sep": ";", "decimal": ","}
    path = cloud("excel_german.csv", writer, CLOUD + CORNER)
    far.to_csv(path, encoding="utf-8-sig", **german)
    path = cloud("excel_unicode.txt", writer, CLOUD + CORNER)
    far.to_csv(path, encoding="utf-16", index=False, sep="\t")
    path = cloud(
        "mixed_types.csv", writer, CLOUD + CORNER, labels=LABELS.tolist()
    )
    far.assign(site="a, b", Label=LABELS.astype("f8")).to_csv(path, index=False)
    # Whole numbers in the first row, where nothing shows the decimal comma.
    whole = np.r_[np.rint(CLOUD[:1]), CLOUD]
    strings = pandas.DataFrame(whole).map("{:g}".format)
    strings = strings.map(lambda x: x.replace(".", ","))
    path = cloud("late_comma.txt", writer, whole)
    strings.to_csv(path, index=False, header=False, sep=";")
    path = cloud("counted.pts", writer)
    with open(path, "w") as file:
        file.write("40\n")
        table.to_csv(file, index=False, header=False, sep=" ")


def by_plyfile():
    """All that PLY allows: orders of bytes, lists, polygons, strips."""
    writer = version("plyfile")
    places = np.array(
        [tuple(v) for v in VERTICES + CORNER],
        [("x", "f8"), ("y", "f8"), ("z", "f8")],
    )
    corners = np.empty(len(POLYGONS), [("vertex_indices", "O")])
    corners["vertex_indices"] = [np.array(p, "i4") for p in POLYGONS]
    vertex = plyfile.PlyElement.describe(places, "vertex")
    face = plyfile.PlyElement.describe(corners, "face")
    for name, options in {
        "plyfile_ascii.ply": {"text": True},
        "plyfile_little.ply": {"byte_order": "<"},
        "plyfile_big.ply": {"byte_order": ">"},
    }.items():
        path = mesh(name, writer, VERTICES + CORNER)
        plyfile.PlyData([vertex, face], **options).write(path)
    turning = np.array([tuple(v) for v in CONCAVE + CORNER], places.dtype)
    corners = corners[:2].copy()
    corners["vertex_indices"] = [np.array(p, "i4") for p in CONCAVE_POLYGONS]
    path = mesh(
        "plyfile_concave.ply", writer, CONCAVE + CORNER, CONCAVE_TRIANGLES
    )
    plyfile.PlyData(
        [
            plyfile.PlyElement.describe(turning, "vertex"),
            plyfile.PlyElement.describe(corners, "face"),
        ]
    ).write(path)
    path = mesh("plyfile_face_first.ply", writer, VERTICES + CORNER)
    plyfile.PlyData([face, vertex], byte_order=">").write(path)
    strip = np.empty(1, [("vertex_indices", "O")])
    strip["vertex_indices"][0] = np.array([4, 5, 8, 6, -1, 9, 10, 13, 11], "i4")
    rows = np.array([(4, 5, 8), (5, 8, 6), (9, 10, 13), (10, 13, 11)])
    path = mesh("plyfile_strips.ply", writer, VERTICES + CORNER, rows)
    strips = plyfile.PlyElement.describe(strip, "tristrips")
    plyfile.PlyData([vertex, strips]).write(path)
    kinds = [("near", "O"), ("x", "f8"), ("y", "f8"), ("z", "f8")]
    points = np.empty(40, [*kinds, ("red", "u1"), ("label", "u2")])
    points["near"] = [np.arange(i % 4, dtype="i4") for i in range(40)]
    for axis, values in zip("xyz", (CLOUD + CORNER).T):
        points[axis] = values
    points["red"], points["label"] = 9, LABELS
    made = plyfile.PlyElement.describe(points, "vertex")
    # Big-endian, plyfile 1.1.5 writes what stands beside a list in the order
    # of the machine.
    path = cloud(
        "plyfile_lists.ply", writer, CLOUD + CORNER, labels=LABELS.tolist()
    )
    plyfile.PlyData([made], byte_order="<").write(path)


def by_pyntcloud():
    writer = version("pyntcloud")
    table = pandas.DataFrame(CLOUD, columns=["x", "y", "z"])
    made = pyntcloud.PyntCloud(table)
    for name, options in {
        "pyntcloud.npz": {},
        "pyntcloud.txt": {"index": False, "header": False, "sep": "\t"},
        "pyntcloud.csv": {"index": False},
        "pyntcloud.xyz": {"index": False, "header": False, "sep": " "},
    }.items():
        made.to_file(cloud(name, writer), **options)


def by_open3d():
    writer = version("open3d-cpu")
    points = open3d.geometry.PointCloud(
        open3d.utility.Vector3dVector(CLOUD)
    )
    write = open3d.io.write_point_cloud
    for name, options in {
        "open3d.xyz": {},
        "open3d.xyzrgb.pts": {},
        "open3d_cloud_ascii.ply": {"write_ascii": True},
        "open3d_cloud_binary.ply": {},
        "open3d_ascii.pcd": {"write_ascii": True},
        "open3d_binary.pcd": {},
        "open3d_compressed.pcd": {"compressed": True},
    }.items():
        assert write(cloud(name, writer), points, **options)
    far = open3d.t.geometry.PointCloud(
        open3d.core.Tensor(CLOUD + CORNER)
    )
    for name, options in {
        "doubles_ascii.pcd": {"write_ascii": True},
        "doubles_binary.pcd": {},
        "doubles_compressed.pcd": {"compressed": True},
    }.items():
        path = cloud(name, writer, CLOUD + CORNER, 1e-3)
        assert open3d.t.io.write_point_cloud(path, far, **options)
    box = open3d.geometry.TriangleMesh(
        open3d.utility.Vector3dVector(VERTICES),
        open3d.utility.Vector3iVector(TRIANGLES),
    )
    box.compute_vertex_normals()
    box.compute_triangle_normals()
    for name, options in {
        "open3d_ascii.ply": {"write_ascii": True},
        "open3d_binary.ply": {},
        "open3d.obj": {},
        "open3d.off": {},
        "open3d.stl": {},
        "open3d.glb": {},
        "open3d.gltf": {},
    }.items():
        path = mesh(name, writer)
        assert open3d.io.write_triangle_mesh(path, box, **options)


def by_pymeshlab():
    writer = version("pymeshlab")
    meshes = pymeshlab.MeshSet()
    meshes.add_mesh(pymeshlab.Mesh(VERTICES, TRIANGLES))
    for name, options in {
        "meshlab_binary.ply": {},
        "meshlab_ascii.ply": {"binary": False},
        "meshlab.obj": {},
        "meshlab.off": {},
        "meshlab.stl": {},
        "meshlab_ascii.stl": {"binary": False},
    }.items():
        meshes.save_current_mesh(mesh(name, writer), **options)
    colors = np.tile([1.0, 0.5, 0.2, 1.0], (len(VERTICES), 1))
    meshes.add_mesh(
        pymeshlab.Mesh(VERTICES, TRIANGLES, v_color_matrix=colors)
    )
    for name in (
        "meshlab_colours.off",
        "meshlab_colours.obj",
        "meshlab_colours.ply",
        "meshlab_colours_normals.ply",
    ):
        meshes.save_current_mesh(
            mesh(name, writer),
            save_vertex_color=True,
            save_vertex_normal="normals" in name,
        )
    # As polygons, one of them concave, and not as their triangles.
    meshes.add_mesh(
        pymeshlab.Mesh(CONCAVE, face_list_of_indices=CONCAVE_POLYGONS)
    )
    path = mesh("meshlab_concave.obj", writer, CONCAVE, CONCAVE_TRIANGLES)
    meshes.save_current_mesh(path, save_polygonal=True)
    meshes.add_mesh(pymeshlab.Mesh(CLOUD))
    for name in ("meshlab.xyz", "meshlab_cloud.ply", "meshlab.e57"):
        meshes.save_current_mesh(cloud(name, writer))


def by_meshio():
    writer = version("meshio")
    three = meshio.Mesh(VERTICES, [("triangle", TRIANGLES)])
    # meshio writes no polygons of five corners.
    mixed = meshio.Mesh(
        VERTICES,
        [
            ("quad", np.array([p for p in POLYGONS if len(p) == 4])),
            ("triangle", np.array([p for p in POLYGONS if len(p) == 3])),
        ],
    )
    faces = TRIANGLES[(TRIANGLES < 9).all(axis=1)]
    meshio.write(mesh("meshio_mixed.obj", writer, faces=faces), mixed)
    meshio.write(
        mesh("meshio_mixed.ply", writer, faces=faces), mixed, binary=True
    )
    meshio.write(
        mesh("meshio_ascii.ply", writer, faces=faces), mixed, binary=False
    )
    meshio.write(mesh("meshio.off", writer), three)
    meshio.write(mesh("meshio.stl", writer), three, binary=True)
    meshio.write(mesh("meshio_ascii.stl", writer), three, binary=False)


def by_trimesh():
    writer = version("trimesh")
    box = trimesh.Trimesh(VERTICES, TRIANGLES, process=False)
    for name, options in {
        "trimesh.off": {},
        "trimesh.obj": {},
        "trimesh_ascii.ply": {"encoding": "ascii"},
        "trimesh_binary.ply": {},
    }.items():
        box.export(mesh(name, writer), **options)
    turned = trimesh.transformations.rotation_matrix(1.0, (1, 2, 3))
    turned[:3, 3] = (5, 6, 7)
    scene = trimesh.Scene()
    scene.add_geometry(box, transform=turned)
    scene.add_geometry(box, transform=np.diag([2.0, 2, 2, 1]))
    vertices = np.concatenate(
        [VERTICES @ turned[:3, :3].T + turned[:3, 3], 2 * VERTICES]
    )
    faces = np.concatenate([TRIANGLES, TRIANGLES + len(VERTICES)])
    scene.export(mesh("placed.glb", writer, vertices, faces))
    # Mirrored, and a node within a node.
    scene = trimesh.Scene()
    scene.graph.update("stand", matrix=turned)
    scene.add_geometry(
        box, transform=np.diag([-2.0, 1, 1, 1]), parent_node_name="stand"
    )
    vertices = VERTICES * (-2, 1, 1) @ turned[:3, :3].T + turned[:3, 3]
    scene.export(mesh("mirrored.glb", writer, vertices))
    points = trimesh.PointCloud(CLOUD)
    points.export(cloud("trimesh_cloud.ply", writer))
    points.export(cloud("trimesh_cloud.glb", writer))


def by_pypcd4():
    writer = version("pypcd4")
    far = CLOUD + CORNER
    made = pypcd4.PointCloud.from_points(
        (far[:, 0], far[:, 1], far[:, 2], LABELS.astype("u2")),
        ("x", "y", "z", "label"),
        ("f8", "f8", "f8", "u2"),
    )
    for encoding in ("ascii", "binary", "binary_compressed"):
        path = cloud(
            f"pypcd4_{encoding}.pcd", writer, far, 1e-3, labels=LABELS.tolist()
        )
        made.save(path, encoding=pypcd4.Encoding(encoding))


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


def las_header(count, point_format, record, offset, number):
    low, high = CLOUD.min(0) + CORNER, CLOUD.max(0) + CORNER
    header = struct.pack(
        "<4sHH16sBB32s32sHHHIIBHI5I",
        b"LASF", 0, 0, bytes(16), 1, 2, b"", b"by hand", 1, 2026, 227, 227,
        number, point_format, record, count, count, 0, 0, 0, 0,
    )  # fmt: skip
    header += struct.pack("<3d", 0.001, 0.001, 0.001)
    header += struct.pack("<3d", *CORNER)
    return header + struct.pack(
        "<6d", high[0], low[0], high[1], low[1], high[2], low[2]
    )


def by_laszip():
    """LAS by hand, from the table of the standard, and LAZ by LASzip."""
    import laszip

    rows = np.zeros(40, "<i4,<i4,<i4,<u2,u1,u1,i1,u1,<u2")
    for axis, name in enumerate(("f0", "f1", "f2")):
        rows[name] = np.rint(CLOUD[:, axis] * 1000)
    rows["f3"], rows["f4"], rows["f5"] = 7, 9, LABELS
    found = {"labels": LABELS.tolist()}
    path = cloud("by_hand.las", "numpy", CLOUD + CORNER, 1e-3, **found)
    header = las_header(40, 0, 20, 227, 0)
    pathlib.Path(path).write_bytes(header + rows.tobytes())
    numbers = ".".join(str(n) for n in laszip.get_version())
    path = cloud(
        "laszip.laz", f"LASzip {numbers}", CLOUD + CORNER, 1e-3, **found
    )
    with open(path, "wb") as file:
        zipper = laszip.LasZipper(file, header)
        zipper.compress(np.frombuffer(rows.tobytes(), "u1"))
        zipper.done()


def by_hand():
    """What no library at hand writes: text of the formats' descriptions."""
    lines = ["OFF", "14 10 0  # a comment"]
    numbers = [f"{x:g}" for x in VERTICES.ravel()]
    lines += [" ".join(numbers[i : i + 6]) for i in range(0, 42, 6)]
    lines += [f"{len(p)} {' '.join(map(str, p))}" for p in POLYGONS]
    path = mesh("two_on_a_line.off", "by hand")
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
    lines[0:2] = ["OFF14 10 0"]
    path = mesh("glued.off", "by hand")
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
    lines = ["COFF", "14 10 0"]
    lines += ["%g %g %g 255 0 0 255" % tuple(v) for v in VERTICES]
    lines += [f"{len(p)} {' '.join(map(str, p))} 9 9 9" for p in POLYGONS]
    path = mesh("colours.off", "by hand")
    pathlib.Path(path).write_text("\n".join(lines) + "\n")
    text = ""
    for polygon in POLYGONS:
        text += "".join("v %g %g %g\n" % tuple(VERTICES[i]) for i in polygon)
        text += "f " + " ".join(str(-n) for n in range(len(polygon), 0, -1))
        text += "\n"
    path = mesh("relative.obj", "by hand")
    pathlib.Path(path).write_text("# part by part\n" + text)
    far = "".join("v %.3f %.3f %.3f\n" % tuple(v + CORNER) for v in VERTICES)
    far += "".join("f %d//1 %d//1 %d//1\n" % tuple(t + 1) for t in TRIANGLES)
    path = mesh("map.obj", "by hand", VERTICES + CORNER)
    pathlib.Path(path).write_text(far)
    header = (
        "ply\nformat binary_little_endian 1.0\nelement vertex 14\n"
        "property double x\nproperty double y\nproperty double z\n"
        "property list uchar int near\nelement face 10\n"
        "property list uchar int vertex_indices\nend_header\n"
    )
    body = b""
    for number, vertex in enumerate(VERTICES + CORNER):
        near = range(number % 4)
        body += struct.pack(f"<3dB{len(near)}i", *vertex, len(near), *near)
    for polygon in POLYGONS:
        body += struct.pack(f"<B{len(polygon)}i", len(polygon), *polygon)
    path = mesh("lists.ply", "by hand", VERTICES + CORNER)
    pathlib.Path(path).write_bytes(header.encode() + body)
    strip = [4, 5, 8, 6, -1, 9, 10, 13, 11]
    rows = np.array([(4, 5, 8), (5, 8, 6), (9, 10, 13), (10, 13, 11)])
    text = (
        "ply\nformat ascii 1.0\nelement vertex 14\nproperty float x\n"
        "property float y\nproperty float z\nelement tristrips 1\n"
        "property list int int vertex_indices\nend_header\n"
    )
    text += "".join("%g %g %g\n" % tuple(v) for v in VERTICES)
    text += f"{len(strip)} {' '.join(map(str, strip))}\n"
    path = mesh("strips.ply", "by hand", faces=rows)
    pathlib.Path(path).write_text(text)
    text = (
        "ply\nformat ascii 1.0\nelement vertex 40\nproperty double x\n"
        "property double y\nproperty double z\n"
        "property int scalar_Classification\nend_header\n"
    )
    text += "".join("%.3f %.3f %.3f %d\n" % (*p, n)
                    for p, n in zip(CLOUD + CORNER, LABELS))  # fmt: skip
    path = cloud(
        "classes.ply", "by hand", CLOUD + CORNER, labels=LABELS.tolist()
    )
    pathlib.Path(path).write_text(text)


def main():
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    for write in (
        arrays, texts, by_plyfile, by_pyntcloud, by_open3d, by_pymeshlab,
        by_meshio, by_trimesh, by_pypcd4, by_pygltflib, by_laszip, by_hand,
    ):  # fmt: skip
        write()
    for extra in FOLDER.glob("*.mtl"):
        extra.unlink()
    text = json.dumps(expected, indent=0, sort_keys=True)
    (FOLDER / "expected.json").write_text(text + "\n")
    size = sum(f.stat().st_size for f in FOLDER.iterdir())
    print(len(expected), "files", size, "bytes")


if __name__ == "__main__":
    main()
