"""What single formats allow, and what of them is told as left out."""

import json
import pathlib
import struct

import numpy as np
import pytest

from keras_pointpeft.data import read_cloud
from keras_pointpeft.data.geometry_files import read_content
from keras_pointpeft.data.geometry_files import read_vertices

pytestmark = pytest.mark.once


def put(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content)
    return path


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("a.pts", "2\n1 2 3 -5 9 9 9\n4 5 6 1 9 9 9\n", [(1, 2, 3), (4, 5, 6)]),
        ("a.pts", "1 2 3\n4 5 6\n", [(1, 2, 3), (4, 5, 6)]),
        ("a.csv", "# x y z\n1,2,3\n", [(1, 2, 3)]),
        ("a.txt", "# tool, v2\n1 2 3\n", [(1, 2, 3)]),
        ("a.txt", "1 2 3 0,5\n", [(1, 2, 3)]),
        ("a.txt", "1,5 2,5 3,5\n", [(1.5, 2.5, 3.5)]),
        ("a.csv", "1,5;2;3\n", [(1.5, 2, 3)]),
        ("a.csv", "1, 2, 3\n", [(1, 2, 3)]),
        ("a.csv", "1;2;3;\n", [(1, 2, 3)]),
        ("a.csv", "name;z;y;x\nq;3;2;1\n", [(1, 2, 3)]),
        ("a.csv", '"X","Y","Z"\r\n1,2,3\r\n', [(1, 2, 3)]),
        ("a.txt", "\ufeffx y z\n1 2 3\n\n", [(1, 2, 3)]),
        ("a.xyz", "% a\n// b\n1e0 +2 -3.0\n", [(1, 2, -3)]),
        ("a.csv", "sep=;\nx;y;z\n1;2;3\n", [(1, 2, 3)]),
        ("a.csv", "X [m],Y (m),Z [m]\n1,2,3\n", [(1, 2, 3)]),
        ("a.csv", "1;2;3\n1,5;2;3\n", [(1, 2, 3), (1.5, 2, 3)]),
        ("a.txt", "1\t2\t3\n1,5\t2\t3\n", [(1, 2, 3), (1.5, 2, 3)]),
        ("a.txt", "1\t2\t3\n4 5 6\n", [(1, 2, 3), (4, 5, 6)]),
        ("a.txt", "1\t2\t3\ta b\n4\t5\t6\tc\n", [(1, 2, 3), (4, 5, 6)]),
        ("a.csv", '"x","y","z","w"\n1,2,3,"a, b"\n', [(1, 2, 3)]),
        ("a.txt", "x y z\n1 2 3\n".encode("utf-16"), [(1, 2, 3)]),
        ("a.asc", "easting\tnorthing\theight\n1\t2\t3\n", [(1, 2, 3)]),
    ],
)
def test_text(tmp_path, name, text, expected):
    points = read_cloud(put(tmp_path / name, text))
    np.testing.assert_array_equal(points, expected)


@pytest.mark.parametrize(
    "name, text, why",
    [
        ("a.csv", "a,b,c\n1,2,3\n", "names the columns"),
        ("a.pts", "3\n1 2 3\n4 5 6\n", "3 points follow, but 2"),
        ("a.pts", "1\n1 2 3\n4 5 6\n", "more lines than the 1"),
        ("a.txt", "1 2\n", "at least 3"),
        ("a.txt", "# nothing\n", "no points"),
        ("a.csv", "x,y,z\n1,,3\n", "could not convert"),
        ("a.csv", "x,y,z,label\n1,2,3,0.5\n", "not integers"),
        (
            "a.txt",
            "".join(f"{i} 4.5 5 6\n" for i in range(1, 20)),
            "first column counts",
        ),
        ("a.off", "OFF BINARY\n", "binary"),
        ("a.off", "4OFF\n1 0 0\n", "dimensions"),
        ("a.off", "OFF\n3 1 0\n0 0 0 1 0 0 0 1 0\n3 0 1 7\n", "corners 0 to 7"),
        ("a.obj", "v 0 0 0\nv 1 0 0\nl 1 2\n", "no faces"),
        ("a.obj", "v 0 0 0\nf -3 -2 -1\n", "corner '-3'"),
        ("a.obj", "v 0 0 0\nf 1 2 3\n", "corners 0 to 2"),
        ("a.gltf", '{"asset": {"version": "2.0"}}', "no scene"),
        (
            "a.gltf",
            '{"extensionsRequired": ["KHR_draco_mesh_compression"]}',
            "draco",
        ),
    ],
)
def test_text_that_is_refused(tmp_path, name, text, why):
    with pytest.raises(ValueError, match=why):
        read_cloud(put(tmp_path / name, text))


def test_arrays_that_are_not_what_they_seem(tmp_path):
    points = np.random.default_rng(0).random((40, 3))
    labels = np.arange(40)
    for name in ("points", "xyz", "pos"):
        np.savez(tmp_path / "a.npz", **{name: points, "label": labels[:, None]})
        found = read_content(tmp_path / "a.npz")
        np.testing.assert_array_equal(found.labels, labels)
    np.savez(tmp_path / "a.npz", points=points, labels=labels[:-1])
    with pytest.raises(ValueError, match="39 labels of 40 points"):
        read_content(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", points=points, normals=points[:-1])
    with pytest.warns(UserWarning, match="without 1 array 'normals'"):
        assert read_content(tmp_path / "a.npz").normals is None
    named = np.array([tuple(p) for p in points], [(n, "f8") for n in "xyz"])
    np.savez(tmp_path / "a.npz", points=named, normals=points[:-1])
    with pytest.warns(UserWarning, match="without 1 array 'normals'"):
        np.testing.assert_array_equal(
            read_content(tmp_path / "a.npz").points, points
        )
    np.savez(tmp_path / "a.npz", colors=points)
    assert read_content(tmp_path / "a.npz").colors is None
    np.save(tmp_path / "a.npy", points.T)
    with pytest.raises(ValueError, match="the other way round"):
        read_content(tmp_path / "a.npy")
    rows = np.c_[points, labels].astype("<f4")
    rows.tofile(tmp_path / "a.bin")
    found = read_content(tmp_path / "a.bin", bin_columns=4)
    assert found.points.flags.c_contiguous
    np.testing.assert_array_equal(found.intensity, labels)


@pytest.mark.parametrize("mark", [",", ";", "|"])
def test_a_place_is_there_or_the_point_is_refused(tmp_path, mark):
    rows = ["x,y,z,intensity", "1,2,3,4", "5,6,7,", "8,9,10,11"]
    text = "\n".join(rows).replace(",", mark)
    found = read_content(put(tmp_path / "a.csv", text))
    np.testing.assert_array_equal(found.intensity, [4, np.nan, 11])
    np.testing.assert_array_equal(found.points[1], [5, 6, 7])
    with pytest.raises(ValueError, match="row 2, column 3"):
        put(tmp_path / "a.csv", text.replace(f"{mark}10{mark}", mark + mark))
        read_content(tmp_path / "a.csv")


@pytest.mark.parametrize("mark", [",", ";", "|"])
def test_a_comment_of_names_has_the_separator_of_the_rows(tmp_path, mark):
    text = "// x,y,z,intensity\n1,2,3,4\n5,6,7,8\n".replace(",", mark)
    found = read_content(put(tmp_path / "a.txt", text))
    np.testing.assert_array_equal(found.intensity, [4, 8])


@pytest.mark.parametrize("mark", [",", ";", "|"])
@pytest.mark.parametrize("end", ["", "mark"])
def test_last_cells_may_be_empty_or_blank(tmp_path, mark, end):
    rows = ["x,y,z,intensity", "1,2,3,", "4,5,6, ", '7,8,9,""', "1,1,1,5"]
    end = end and ","
    text = "".join(f"{row}{end}\n" for row in rows).replace(",", mark)
    found = read_content(put(tmp_path / "a.csv", text))
    np.testing.assert_array_equal(found.points[2], (7, 8, 9))
    np.testing.assert_array_equal(found.intensity, [np.nan] * 3 + [5])


def test_properties_of_unknown_types_are_named(tmp_path):
    text = (
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\n"
        "property half y\nproperty float z\nend_header\n0 0 0\n"
    )
    with pytest.raises(ValueError, match="property 'y' is of the type 'half'"):
        read_content(put(tmp_path / "a.ply", text))


def test_a_label_of_its_own_goes_before_the_class(tmp_path):
    laspy = pytest.importorskip("laspy")
    scan = laspy.create(point_format=6, file_version="1.4")
    scan.x = scan.y = scan.z = np.arange(3.0)
    scan.classification = [2, 2, 2]
    scan.write(tmp_path / "a.las")
    assert read_content(tmp_path / "a.las").labels.tolist() == [2, 2, 2]
    scan.add_extra_dim(laspy.ExtraBytesParams("label", "uint8"))
    scan.label = [0, 1, 5]
    scan.write(tmp_path / "a.las")
    assert read_content(tmp_path / "a.las").labels.tolist() == [0, 1, 5]


def test_what_is_left_out_is_counted(tmp_path):
    text = "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nl 1 2\nl 2 3\n"
    with pytest.warns(UserWarning, match="without 2 'l'"):
        read_cloud(put(tmp_path / "a.obj", text))
    text = (
        "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\n"
        "property float y\nproperty float z\nelement edge 2\n"
        "property int vertex1\nproperty int vertex2\nend_header\n"
        "0 0 0\n0 0\n0 0\n"
    )
    with pytest.warns(UserWarning, match="without 2 edge"):
        read_cloud(put(tmp_path / "a.ply", text))


def pcd(fields, sizes, kinds, counts, rows, data="binary"):
    header = (
        f"# .PCD v0.7\nVERSION 0.7\nFIELDS {fields}\nSIZE {sizes}\n"
        f"TYPE {kinds}\nCOUNT {counts}\nWIDTH {len(rows)}\nHEIGHT 1\n"
        f"POINTS {len(rows)}\nDATA {data}\n"
    )
    return header.encode() + rows.tobytes()


def test_pcd_with_gaps_colours_and_histograms(tmp_path):
    kind = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("h", "<f4", 3)]
    rows = np.zeros(4, [*kind, ("rgb", "<u4"), ("label", "<u2")])
    rows["x"], rows["label"] = (1, np.nan, 3, 4), (7, 8, 9, 10)
    rows["rgb"] = 0x010203
    content = pcd("x y z h rgb label", "4 4 4 4 4 2", "F F F F U U",
                  "1 1 1 3 1 1", rows)  # fmt: skip
    with pytest.warns(UserWarning, match="1 invalid points"):
        found = read_content(put(tmp_path / "a.pcd", content))
    np.testing.assert_array_equal(found.points[:, 0], [1, 3, 4])
    np.testing.assert_array_equal(found.labels, [7, 9, 10])
    np.testing.assert_array_equal(found.colors[0], [1, 2, 3])


def test_headers_that_declare_too_much(tmp_path):
    huge = (
        "ply\nformat ascii 1.0\nelement vertex 999999999\nproperty float x\n"
        "property float y\nproperty float z\nend_header\n0 0 0\n"
    )
    for name, content, why in (
        ("a.ply", huge, "more than"),
        ("a.off", "OFF\n999999999 0 0\n0 0 0\n", "more than"),
        (
            "a.pcd",
            pcd("x y z", "4 4 4", "F F F", "1 1 1", np.zeros(1, "<3f4"))
            .replace(b"POINTS 1", b"POINTS 9999999"),
            "ends early",
        ),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=why):
            read_cloud(put(tmp_path / name, content))
    content = pcd("x y z", "4 4 4", "F F F", "1 1 1", np.zeros(99, "<3f4"))
    with pytest.raises(ValueError, match="max_bytes"):
        read_cloud(put(tmp_path / "b.pcd", content), max_bytes=100)


def test_e57_scans_stand_where_they_were_taken(tmp_path):
    pye57 = pytest.importorskip("pye57")
    path = str(tmp_path / "a.e57")
    local = np.random.default_rng(0).uniform(0, 1, (20, 3))
    with pye57.E57(path, mode="w") as file:
        for shift in (0.0, 1000.0):
            # A quarter turn about z.
            file.write_scan_raw(
                {
                    f"cartesian{axis}": local[:, i].copy()
                    for i, axis in enumerate("XYZ")
                },
                rotation=np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)]),
                translation=np.array([shift, 5.4e6, 0.0]),
            )
    points = read_cloud(path)
    turned = np.stack([-local[:, 1], local[:, 0], local[:, 2]], axis=1)
    expected = np.concatenate([turned, turned + (1000, 0, 0)]) + (0, 5.4e6, 0)
    np.testing.assert_allclose(points, expected, rtol=0, atol=1e-6)


PRIMITIVE = {"attributes": {"POSITION": 0}}


def glb(path, primitives, nodes, count=3, **more):
    """Corners on a circle, from which each mesh takes what it wants."""
    points = np.zeros((count, 3), "<f4")
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    points[:, 0], points[:, 1] = np.cos(angles), np.sin(angles)
    size = 12 * count
    text = json.dumps(
        {
            "asset": {"version": "2.0"},
            "scenes": [{"nodes": list(range(len(nodes)))}],
            "nodes": nodes,
            "meshes": [{"primitives": [p]} for p in primitives],
            "buffers": [{"byteLength": size}],
            "bufferViews": [{"buffer": 0, "byteLength": size}],
            "accessors": [
                {
                    "bufferView": 0,
                    "componentType": 5126,
                    "count": count,
                    "type": "VEC3",
                }
            ],
            **more,
        }
    ).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text
    body += struct.pack("<I4s", size, b"BIN\0") + points.tobytes()
    header = struct.pack("<4sII", b"glTF", 2, 12 + len(body))
    return put(path, header + body)


def test_points_beside_a_mesh_are_not_mixed(tmp_path):
    """Neither the cloud nor the triangle is dropped."""
    parts = [PRIMITIVE, {**PRIMITIVE, "mode": 0}]
    path = glb(tmp_path / "a.glb", parts, [{"mesh": 0}, {"mesh": 1}])
    with pytest.raises(ValueError, match="3 points beside 1 meshes"):
        read_vertices(path)


def test_targets_move_vertices_as_far_as_they_weigh(tmp_path):
    part = {**PRIMITIVE, "targets": [{"POSITION": 0}]}
    plain = read_vertices(
        glb(tmp_path / "a.glb", [part], [{"mesh": 0}])
    ).points
    for node, factor in (({"weights": [1]}, 2), ({"weights": [0.5]}, 1.5)):
        path = glb(tmp_path / "b.glb", [part], [{"mesh": 0, **node}])
        np.testing.assert_allclose(read_vertices(path).points, factor * plain)


def test_a_fan_of_triangles_is_no_polygon(tmp_path):
    part = {**PRIMITIVE, "mode": 6}
    path = glb(tmp_path / "a.glb", [part], [{"mesh": 0}], 5)
    assert read_vertices(path).faces.tolist() == [
        [0, 1, 2],
        [0, 2, 3],
        [0, 3, 4],
    ]


def test_what_a_scene_has_beside_is_told(tmp_path):
    for node, what in (
        ({"extensions": {"EXT_mesh_gpu_instancing": {}}}, "EXT_mesh_gpu"),
        ({"extensions": {"KHR_node_visibility": {}}}, "KHR_node_visib"),
        ({"skin": 0}, "poses of a skin"),
    ):
        path = glb(tmp_path / "a.glb", [PRIMITIVE], [{"mesh": 0, **node}])
        with pytest.warns(UserWarning, match=what):
            read_content(path)
    scenes = [{"nodes": [0]}, {"nodes": [0]}]
    path = glb(tmp_path / "a.glb", [PRIMITIVE], [{"mesh": 0}], scenes=scenes)
    with pytest.warns(UserWarning, match="1 other scenes"):
        read_content(path)


def test_ply_is_written_as_it_is_read(tmp_path):
    from keras_pointpeft.data.formats.ply import read_elements
    from keras_pointpeft.data.formats.ply import write_elements

    folder = pathlib.Path(__file__).parent / "files"
    for path in sorted(folder.glob("*.ply")):
        elements = read_elements(path)
        write_elements(tmp_path / "a.ply", elements)
        again = read_elements(tmp_path / "a.ply")
        assert [e[:3] for e in again] == [e[:3] for e in elements]
        for (*_, before), (*_, after) in zip(elements, again):
            for name, values in before.items():
                for one, other in zip(values, after[name]):
                    np.testing.assert_allclose(one, other, rtol=1e-6)


PTX = """2
2
0 0 0
1 0 0
0 1 0
0 0 1
0 1 0 0
-1 0 0 0
0 0 1 0
400000 5400000 352 1
1 2 3 0.5
4 5 6 0.25
0 0 0 0.5
7 8 9 1
"""


def test_scans_of_a_ptx_stand_where_they_were_taken(tmp_path):
    path = put(tmp_path / "a.ptx", PTX + PTX.replace("\n400000", "\n400100"))
    with pytest.warns(UserWarning, match="2 directions without a point"):
        found = read_content(path)
    # A quarter turn about z, for points in rows.
    first = [(399998, 5400001, 355), (399995, 5400004, 358)]
    np.testing.assert_array_equal(found.points[:2], first)
    np.testing.assert_array_equal(found.points[3], (400098, 5400001, 355))
    np.testing.assert_array_equal(found.intensity[:3], (0.5, 0.25, 1))
    assert len(found.points) == 6 and found.points.dtype == "float64"
    colored = PTX.replace("0.5\n", "0.5 1 2 3\n")
    for what, text, why in (
        ("colours of some", colored, "number of columns"),
        ("too short", PTX[:-8], "a scan of 4 points"),
        ("no transform", PTX.replace("0 0 1 0\n", ""), "4 numbers"),
        ("nothing", "\n", "no scans"),
        ("no size", PTX.replace("2\n2\n", "2.5\n2\n", 1), "2.5 by 2"),
    ):
        with pytest.raises(ValueError, match=why):
            read_content(put(path, text))
