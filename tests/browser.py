"""Debian's Chromium without a window, driven by its DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
_PATIENCE = 60


class Browser:
    """One page of a browser that is alone: a new profile, and nothing of its own that it would fetch.

    Attributes:
        requests: the addresses that the page asked for, but for data within it.
    """

    def __init__(self) -> None:
        self._profile = tempfile.mkdtemp(prefix="eostui-browser-")
        (theirs, self._to), (self._from, back) = os.pipe(), os.pipe()
        flags = (
            "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run "
            "--disable-background-networking --disable-component-update --disable-sync "
            f"--remote-debugging-pipe --user-data-dir={self._profile} about:blank"
        )
        # the protocol is spoken on descriptors 3 and 4
        command = f"exec {PROGRAM} {flags} 3<&{theirs} 4>&{back}"
        self._process = subprocess.Popen(
            ["bash", "-c", command], pass_fds=(theirs, back), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs)
        os.close(back)
        self._unread = b""
        self._number = 0
        self._session = ""
        self.requests: list[str] = []
        pages = self.call("Target.getTargets")["targetInfos"]
        (page,) = [each["targetId"] for each in pages if each["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def close(self) -> None:
        """End it, and forget its profile."""
        os.close(self._to)
        os.close(self._from)
        self._process.terminate()
        self._process.wait(_PATIENCE)
        shutil.rmtree(self._profile, ignore_errors=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask it for something, and return the answer; what happens until then is taken note of."""
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, page: Path, width: int, height: int = 800, **media: str) -> None:
        """Show a file in a window of so many pixels, as a telephone would below 600.

        Args:
            page: the file.
            width, height: of the window.
            media: features such as `prefers_color_scheme="dark"`.
        """
        features = [{"name": k.replace("_", "-"), "value": v} for k, v in media.items()]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.requests.clear()
        self.call("Page.navigate", url=page.as_uri())
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the page; of a promise what it comes to."""
        found = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def printed(self) -> bytes:
        """Return the page as PDF, on A4."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": True}
        return base64.b64decode(self.call("Page.printToPDF", **paper)["data"])

    def picture(self) -> bytes:
        """Return what is seen of the page, all of its height, as PNG."""
        return base64.b64decode(
            self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        )

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._from], [], [], _PATIENCE)
            read = os.read(self._from, 1 << 20) if ready else b""
            assert read, "the browser ended, or says nothing"
            self._unread += read
        message, _, self._unread = self._unread.partition(b"\0")
        told: dict[str, Any] = json.loads(message)
        if told.get("method") == "Network.requestWillBeSent":
            address = told["params"]["request"]["url"]
            if not address.startswith("data:"):
                self.requests.append(address)
        return told
