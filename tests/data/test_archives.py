import io
import os
import stat
import tarfile
import zipfile

import pytest

from keras_pointpeft.data.archives import UnsafeArchive
from keras_pointpeft.data.archives import unpack
from keras_pointpeft.data.sources import SOURCES
from keras_pointpeft.data.sources import Source
from keras_pointpeft.data.sources import fetch
from keras_pointpeft.files import downloads

pytestmark = pytest.mark.once


def make_zip(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def make_tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_zip_and_tar(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"x/a.txt": "a", "b.txt": "b"})
    files = unpack(archive, tmp_path / "zip")
    assert sorted(file.name for file in files) == ["a.txt", "b.txt"]
    assert (tmp_path / "zip/x/a.txt").read_text() == "a"
    member = tarfile.TarInfo("y/c.txt")
    unpack(make_tar(tmp_path / "a.tgz", [(member, b"c")]), tmp_path / "tar")
    assert (tmp_path / "tar/y/c.txt").read_text() == "c"
    assert not list(tmp_path.rglob(".part-*"))


@pytest.mark.parametrize(
    "name",
    ["../out.txt", "a/../../out.txt", "/out.txt", "..\\out.txt", "C:/out.txt"],
)
def test_a_zip_that_climbs_out_is_refused(tmp_path, name):
    archive = make_zip(tmp_path / "a.zip", {"good.txt": "a", name: "b"})
    with pytest.raises(UnsafeArchive, match="outside.*Received"):
        unpack(archive, tmp_path / "deep" / "folder")
    # Nothing was written, not even what is harmless.
    assert os.listdir(tmp_path) == ["a.zip"]


def test_links_are_refused(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
    with pytest.raises(UnsafeArchive, match="no plain file"):
        unpack(archive, tmp_path / "out")
    member = tarfile.TarInfo("link")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc"
    tar = make_tar(tmp_path / "a.tgz", [(member, b"")])
    with pytest.raises(UnsafeArchive, match="no plain file"):
        unpack(tar, tmp_path / "out")


def test_a_tar_that_climbs_out_is_refused(tmp_path):
    tar = make_tar(tmp_path / "a.tgz", [(tarfile.TarInfo("../x"), b"x")])
    with pytest.raises(UnsafeArchive, match="outside"):
        unpack(tar, tmp_path / "out")


def test_bombs_are_refused(tmp_path):
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("zeros", bytes(80 * 2**20))
    with pytest.raises(UnsafeArchive, match="too many"):
        unpack(archive, tmp_path / "out")
    small = make_zip(tmp_path / "small.zip", {"a": "x" * 1000})
    with pytest.raises(UnsafeArchive, match="too many"):
        unpack(small, tmp_path / "out", max_bytes=999)


def test_truncated_archives_are_named(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": "x" * 1000})
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="a.zip is no complete"):
        unpack(archive, tmp_path / "out")


def test_a_source_is_fetched_checked_and_unpacked(tmp_path):
    archive = make_zip(tmp_path / "set.zip", {"one/cloud.xyz": "0 0 0"})
    digest = downloads.sha256_of(archive)
    source = Source("A set", "load", url=archive.as_uri(), sha256=digest)
    _, found, files = fetch(source, tmp_path / "data")
    assert found == digest and files[0].name == "cloud.xyz"
    with pytest.raises(downloads.DownloadError, match="SHA-256"):
        fetch(source, tmp_path / "other", sha256="0" * 64)


def test_every_source_says_how():
    for source in SOURCES.values():
        assert bool(source.url) != bool(source.ask)
        assert source.use
