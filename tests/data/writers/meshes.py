"""What libraries of meshes write, clouds too."""

import meshio
import numpy as np
import open3d
import plyfile
import pymeshlab
import trimesh
from writers.contents import BESIDE
from writers.contents import CLOUD
from writers.contents import COLORS
from writers.contents import CONCAVE
from writers.contents import CONCAVE_POLYGONS
from writers.contents import CONCAVE_TRIANGLES
from writers.contents import CORNER
from writers.contents import LABELS
from writers.contents import POLYGONS
from writers.contents import TRIANGLES
from writers.contents import VERTICES
from writers.contents import cloud
from writers.contents import mesh
from writers.contents import version


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
    far.point.colors = open3d.core.Tensor(COLORS.astype("u1"))
    far.point.labels = open3d.core.Tensor(LABELS[:, None].astype("i4"))
    far.point.intensity = open3d.core.Tensor(7.0 * LABELS[:, None])
    path = cloud("open3d_tensor.npz", writer, CLOUD + CORNER, **BESIDE)
    assert open3d.t.io.write_point_cloud(path, far)
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
    named = trimesh.Trimesh(VERTICES, TRIANGLES, process=False)
    numbers = np.arange(len(VERTICES))
    named.vertex_attributes["label"] = numbers
    path = mesh("trimesh_int64.ply", writer, labels=numbers.tolist())
    named.export(path, vertex_normal=False)
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
