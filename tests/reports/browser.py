"""Headless Chromium, spoken to through a pipe; nothing to install for it."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time

CHROMIUM = (
    shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)


def _high_pipe():
    """A pipe whose ends are none of the descriptors 3 and 4."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20))
        os.close(end)
    return ends


class Browser:
    """One page in a browser.

    Args:
        folder: folder for the browser's profile.

    Attributes:
        errors: list of strings, errors on the console and exceptions.
        requests: list of addresses that the page asked for.
    """

    def __init__(self, folder, width=1240, height=900):
        self.errors, self.requests = [], []
        to_read, to_write = _high_pipe()
        from_read, from_write = _high_pipe()
        # The browser reads from descriptor 3 and writes to 4.
        command = f'exec "$0" "$@" 3<&{to_read} 4>&{from_write}'
        self._process = subprocess.Popen(
            [
                *("bash", "-c", command, CHROMIUM, "--headless=new"),
                *("--no-sandbox", "--disable-dev-shm-usage"),
                *("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
                *("--remote-debugging-pipe", f"--user-data-dir={folder}"),
                *("--no-first-run", f"--window-size={width},{height}"),
                "about:blank",
            ],
            pass_fds=(to_read, from_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(from_write)
        self._in, self._out = to_write, from_read
        self._rest, self._number, self._session = b"", 0, None
        targets = self.call("Target.getTargets")["targetInfos"]
        (page,) = [t for t in targets if t["type"] == "page"]
        attached = self.call(
            "Target.attachToTarget", targetId=page["targetId"], flatten=True
        )
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        for end in (self._in, self._out):
            os.close(end)
        self._process.terminate()
        self._process.wait(30)

    def call(self, method, **params):
        """One command of the protocol; its result."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        data = memoryview(json.dumps(message).encode() + b"\0")
        while data:
            data = data[os.write(self._in, data) :]
        while True:
            found = self._next(120)
            if found.get("id") == number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return found["result"]

    def _next(self, seconds):
        end = time.monotonic() + seconds
        while b"\0" not in self._rest:
            left = end - time.monotonic()
            if not select.select([self._out], [], [], max(left, 0))[0]:
                raise TimeoutError("The browser does not answer.")
            part = os.read(self._out, 1 << 20)
            if not part:
                raise RuntimeError("The browser has ended.")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method, params):
        if method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            text = details.get("exception", {}).get("description")
            self.errors.append(text or details["text"])
        elif method == "Runtime.consoleAPICalled":
            if params["type"] in ("error", "assert"):
                self.errors.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded":
            if params["entry"]["level"] == "error":
                self.errors.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, path):
        """Opens a file and waits until it has loaded."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def run(self, code):
        """The value of a line of script."""
        found = self.call(
            "Runtime.evaluate",
            expression=code,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not self.run(condition):
            if time.monotonic() > end:
                raise TimeoutError(f"{condition} did not become true")
            time.sleep(0.1)

    def drag(self, start, end):
        """Drags the mouse with its left button held."""
        steps = 8
        for i in range(steps + 1):
            x, y = (a + (b - a) * i / steps for a, b in zip(start, end))
            kind = "mousePressed" if i == 0 else "mouseMoved"
            self._mouse(kind, x, y)
        self._mouse("mouseReleased", *end)

    def _mouse(self, kind, x, y):
        self.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x,
            y=y,
            button="left",
            buttons=0 if kind == "mouseReleased" else 1,
            clickCount=1,
        )

    def screenshot(self, path, whole=False):
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
