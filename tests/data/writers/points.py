"""Arrays, tables and scans: files of points alone."""

import csv
import pathlib
import struct

import numpy as np
import pandas
import pyntcloud
import pypcd4
from writers.contents import BESIDE
from writers.contents import CLOUD
from writers.contents import COLORS
from writers.contents import CORNER
from writers.contents import LABELS
from writers.contents import cloud
from writers.contents import version


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
    np.savez(
        cloud("channels.npz", writer, **BESIDE),
        xyz=CLOUD, rgb=np.c_[COLORS, COLORS[:, 0]].astype("u1"),
        intensity=LABELS[:, None] * 7, pid=LABELS,
    )  # fmt: skip
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
    names = ["x_coord", "y_coord", "z_coord"]
    wide = pandas.DataFrame(CLOUD, columns=names).assign(
        label=LABELS, intensity=LABELS * 7
    )
    for axis, name in enumerate(("red", "green", "blue")):
        wide[name] = COLORS[:, axis]
    wide.to_csv(cloud("bars.csv", writer, **BESIDE), index=False, sep="|")
    # What is not known of some points is left empty.
    known = LABELS != 1
    wide["label"] = wide["label"].where(known).astype("Int64")
    beside = {**BESIDE, "labels": np.where(known, LABELS, -1).tolist()}
    wide.to_csv(cloud("empty_cells.csv", writer, **beside), index=False)
    path = cloud("counted.pts", writer)
    with open(path, "w") as file:
        file.write("40\n")
        table.to_csv(file, index=False, header=False, sep=" ")


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
