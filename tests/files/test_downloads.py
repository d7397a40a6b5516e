import hashlib
import http.server
import socket
import threading

import pytest

from keras_pointpeft.files import downloads

pytestmark = pytest.mark.once

BODY = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(BODY).hexdigest()


class Releases(http.server.BaseHTTPRequestHandler):
    """A release host with ranges, tags, and the faults that hosts have."""

    def do_GET(self):
        server = self.server
        server.seen.append((self.path, self.headers.get("Range")))
        if self.path.endswith("missing.pth"):
            self.send_error(404)
            return
        start = 0
        wanted = self.headers.get("Range")
        unchanged = self.headers.get("If-Range", server.tag) == server.tag
        if wanted and unchanged and server.ranges:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(server.body):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(server.body) - start))
        self.send_header("ETag", server.tag)
        if server.kind is not None:
            self.send_header("Content-Type", server.kind)
        self.end_headers()
        stop = server.stop_after or len(server.body)
        self.wfile.write(server.body[start : start + stop])

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Releases)
    server.body, server.tag, server.ranges = BODY, '"one"', True
    server.stop_after, server.seen, server.kind = None, [], None
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def leftovers(folder):
    names = {path.name for path in folder.iterdir()}
    return {name for name in names if not name.endswith((".lock", ".sha256"))}


def test_download_and_reuse(server, tmp_path):
    path = tmp_path / "a" / "b.pth"
    found = downloads.fetch(f"{server.url}/b.pth", path, SHA256)
    assert found == path and path.read_bytes() == BODY
    assert leftovers(path.parent) == {"b.pth"}
    downloads.fetch(f"{server.url}/b.pth", path, SHA256)
    downloads.fetch(f"{server.url}/b.pth", path)
    assert len(server.seen) == 1


def test_resume_after_truncation(server, tmp_path):
    path = tmp_path / "b.pth"
    server.stop_after = 300_000
    with pytest.raises(downloads.DownloadError) as error:
        downloads.fetch(f"{server.url}/b.pth", path)
    assert f"300000 of {len(BODY)} bytes" in str(error.value)
    assert f"{server.url}/b.pth" in str(error.value)
    assert not path.exists()
    server.stop_after = None
    downloads.fetch(f"{server.url}/b.pth", path)
    assert server.seen[-1] == ("/b.pth", "bytes=300000-")
    assert path.read_bytes() == BODY
    assert leftovers(tmp_path) == {"b.pth"}


def test_changed_file_is_not_patched_together(server, tmp_path):
    path = tmp_path / "b.pth"
    server.stop_after = 300_000
    with pytest.raises(downloads.DownloadError):
        downloads.fetch(f"{server.url}/b.pth", path)
    server.stop_after, server.tag = None, '"two"'
    server.body = BODY[::-1]
    downloads.fetch(f"{server.url}/b.pth", path)
    assert path.read_bytes() == BODY[::-1]


def test_server_without_ranges_starts_again(server, tmp_path):
    path = tmp_path / "b.pth"
    server.stop_after, server.ranges = 300_000, False
    with pytest.raises(downloads.DownloadError):
        downloads.fetch(f"{server.url}/b.pth", path)
    server.stop_after = None
    downloads.fetch(f"{server.url}/b.pth", path)
    assert path.read_bytes() == BODY


def test_stale_part_beyond_the_end(server, tmp_path):
    path = tmp_path / "b.pth"
    (tmp_path / "b.pth.part").write_bytes(BODY + b"more")
    downloads.fetch(f"{server.url}/b.pth", path, SHA256)
    assert path.read_bytes() == BODY


def test_part_of_unknown_origin_is_not_used(server, tmp_path):
    path = tmp_path / "b.pth"
    (tmp_path / "b.pth.part").write_bytes(b"something else")
    downloads.fetch(f"{server.url}/b.pth", path)
    assert path.read_bytes() == BODY


def test_sha256_mismatch_names_both_and_removes(server, tmp_path):
    path = tmp_path / "b.pth"
    with pytest.raises(downloads.DownloadError) as error:
        downloads.fetch(f"{server.url}/b.pth", path, "0" * 64)
    assert "0" * 64 in str(error.value) and SHA256 in str(error.value)
    assert leftovers(tmp_path) == set()


def test_damaged_cached_file_is_fetched_again(server, tmp_path):
    path = tmp_path / "b.pth"
    path.write_bytes(b"damaged")
    downloads.fetch(f"{server.url}/b.pth", path, SHA256)
    assert path.read_bytes() == BODY


def test_missing_file(server, tmp_path):
    url = f"{server.url}/missing.pth"
    with pytest.raises(downloads.DownloadError) as error:
        downloads.fetch(url, tmp_path / "b.pth")
    message = str(error.value)
    assert "404" in message and url in message and "Ways on" in message
    assert str(tmp_path / "b.pth") in message
    assert leftovers(tmp_path) == set()


def test_refused_connection(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/b.pth"
    with pytest.raises(downloads.DownloadError, match="refused") as error:
        downloads.fetch(url, tmp_path / "b.pth")
    assert url in str(error.value)


def test_silent_server_times_out(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/b.pth"
        with pytest.raises(downloads.DownloadError, match="timed out"):
            downloads.fetch(url, tmp_path / "b.pth", timeout=0.2)


def test_parallel_downloads_fetch_once(server, tmp_path):
    path = tmp_path / "b.pth"
    url = f"{server.url}/b.pth"
    workers = [
        threading.Thread(target=downloads.fetch, args=(url, path, SHA256))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert path.read_bytes() == BODY
    assert len(server.seen) == 1


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_mirror(server, tmp_path, monkeypatch, how):
    original = "https://github.com/owner/name/releases/download/v/b.pth"
    mirror = f"{server.url}/github/"
    if how == "variable":
        monkeypatch.setenv(downloads.MIRROR_VARIABLE, mirror)
        mirror = None
    downloads.fetch(original, tmp_path / "b.pth", mirror=mirror)
    (path, _), *_ = server.seen
    assert path == "/github/owner/name/releases/download/v/b.pth"


def test_local_folder_as_mirror(tmp_path):
    source = tmp_path / "releases" / "owner" / "b.pth"
    source.parent.mkdir(parents=True)
    source.write_bytes(BODY)
    path = downloads.fetch(
        "https://github.com/owner/b.pth",
        tmp_path / "cache" / "b.pth",
        SHA256,
        mirror=(tmp_path / "releases").as_uri(),
    )
    assert path.read_bytes() == BODY


def test_other_schemes_are_refused(tmp_path):
    with pytest.raises(ValueError, match="ftp://host/b.pth"):
        downloads.fetch("ftp://host/b.pth", tmp_path / "b.pth")


def test_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert downloads.cache_directory() == tmp_path / "keras_pointpeft"


def test_a_changed_file_is_told(server, tmp_path, caplog):
    path = tmp_path / "b.pth"
    url = f"{server.url}/b.pth"
    downloads.fetch(url, path)
    downloads.fetch(url, path)
    assert "first downloaded" not in caplog.text
    kept = (tmp_path / "b.pth.sha256").read_text()
    assert kept == SHA256
    # Another file in the cache, or another one that the server sends.
    path.write_bytes(b"mine")
    downloads.fetch(url, path)
    assert caplog.text.count("first downloaded") == 1
    path.unlink()
    server.body = BODY[::-1]
    downloads.fetch(url, path)
    assert caplog.text.count("first downloaded") == 2
    assert SHA256 in caplog.text and path.read_bytes() == BODY[::-1]


def test_a_page_is_no_file(server, tmp_path):
    server.kind = "text/html; charset=utf-8"
    with pytest.raises(downloads.DownloadError, match="web page") as error:
        downloads.fetch(f"{server.url}/b.pth", tmp_path / "b.pth")
    assert "Ways on" in str(error.value)
    assert leftovers(tmp_path) == set()
