"""Where the data sets come from."""

import dataclasses
import pathlib
import urllib.parse

from keras_pointpeft.data.archives import unpack
from keras_pointpeft.files import downloads


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    Attributes:
        title: string.
        use: string, how it is loaded then.
        url: string or None, an archive that anybody may fetch.
        sha256: string or None, the archive's, if it is known.
        ask: string or None, where it must be asked for, if it may not be
            fetched without.
        terms: string or None, what the authors ask of those who use it.
    """

    title: str
    use: str
    url: str | None = None
    sha256: str | None = None
    ask: str | None = None
    terms: str | None = None


SOURCES = {
    "modelnet40": Source(
        "ModelNet40, meshes",
        'keras_pointpeft.data.load("folder", ".../ModelNet40", split="train")',
        url="https://modelnet.cs.princeton.edu/ModelNet40.zip",
        terms="for academic use; all models belong to their authors",
    ),
    "modelnet10": Source(
        "ModelNet10, meshes",
        'keras_pointpeft.data.load("folder", ".../ModelNet10", split="train")',
        url="https://vision.princeton.edu/projects/2014/3DShapeNets/"
        "ModelNet10.zip",
        terms="for academic use; all models belong to their authors",
    ),
    "shapenetpart": Source(
        "ShapeNetPart with normals",
        'keras_pointpeft.data.load("shapenetpart", DIR, split="trainval")',
        url="https://shapenet.cs.stanford.edu/media/"
        "shapenetcore_partanno_segmentation_benchmark_v0_normal.zip",
        terms="ShapeNet's terms: research and education, not commercial",
    ),
    "scanobjectnn": Source(
        "ScanObjectNN, h5 files",
        'keras_pointpeft.data.load("scanobjectnn", DIR, split="train")',
        ask="accept the terms at https://hkust-vgd.github.io/scanobjectnn/; "
        "the authors then send the address of h5_files.zip",
    ),
    "shapenet55": Source(
        "ShapeNet-55 of PoinTr",
        'keras_pointpeft.data.load("shapenet55", DIR, split="train")',
        ask="linked from https://github.com/yuxumin/PoinTr (DATASET.md), "
        "where only a browser gets it; ShapeNet's terms apply",
    ),
    "few_shot": Source(
        "Few-shot episodes of ModelNet40",
        "keras_pointpeft.data.load_few_shot(DIR, ways=5, shots=10, fold=0)",
        ask="linked from https://github.com/Julie-tang00/Point-BERT "
        "(DATASET.md), where only a browser gets it",
    ),
    "s3dis": Source(
        "S3DIS",
        'keras_pointpeft.data.load("s3dis", DIR, split="train")',
        ask="accept the terms at http://buildingparser.stanford.edu/"
        "dataset.html; prepare the rooms as PointNet's scripts do",
    ),
}


def fetch(source, folder, url=None, sha256=None, extract=True):
    """Downloads an archive and unpacks it.

    Args:
        source: `Source`.
        folder: path to write to.
        url: optional string, another address of the same archive.
        sha256: optional string. The source's by default.
        extract: bool, whether to unpack it.

    Returns:
        The archive's path, its SHA-256, and the list of unpacked files.

    Raises:
        DownloadError: if it cannot be fetched, or is another file.
        UnsafeArchive: if it holds what would leave the folder.
    """
    url = url or source.url
    name = pathlib.PurePosixPath(urllib.parse.urlsplit(url).path).name
    archive = downloads.fetch(
        url, pathlib.Path(folder) / name, sha256 or source.sha256
    )
    digest = downloads.sha256_of(archive)
    files = unpack(archive, folder) if extract else []
    return archive, digest, files
