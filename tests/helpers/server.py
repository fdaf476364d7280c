"""A local web server for a folder, which can be slow or faulty.

It behaves like a bucket behind a plain address: GET and HEAD of single files, ranges too, 404 for
everything else. It lists nothing.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

Fault = int | str | None
"""A status to answer with. "drop" closes the connection, "cut" does so in the middle of the answer,
"hang" sends nothing until the server is closed."""


class FolderServer:
    """Serve a folder while its ``with`` block lasts.

    Parameters
    ----------
    folder : str
        The folder to serve.
    latency : float
        Seconds before each answer.
    fault : callable, optional
        ``fault(key, attempt)`` returns what goes wrong with a request for a key, or None. The
        first attempt is 0.
    ranges : bool
        Whether it answers ranges. If not, it always sends the whole file.
    change : callable, optional
        ``change(key, status, body, headers)`` returns the three of an answer as they are sent. One
        with the header ``Transfer-Encoding`` is sent in pieces, without its length.

    Attributes
    ----------
    url : str
        The address, without a slash at the end.
    requests : list of str
        Requested keys, in order, failed requests too.
    sent_nbytes : int
        Bytes of all bodies sent.
    most_at_once : int
        The largest number of requests that were answered at the same time.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        latency: float = 0.0,
        fault: Callable[[str, int], Fault] | None = None,
        ranges: bool = True,
        change: Callable[..., tuple[int, bytes, dict[str, str]]] | None = None,
    ) -> None:
        self.folder = os.path.abspath(folder)
        self.latency = latency
        self.fault = fault
        self.ranges = ranges
        self.change = change
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.sent_nbytes = 0
        self.most_at_once = 0
        self._attempts: Counter[str] = Counter()
        self._at_once = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def __enter__(self) -> FolderServer:
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one packet: two would wait for one another

            def do_GET(self) -> None:
                served.answer(self, body=True)

            def do_HEAD(self) -> None:
                served.answer(self, body=False)

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                """Print nothing about a client that went away."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.01,), daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def forget(self) -> None:
        """Reset the counts."""
        with self._lock:
            self.requests.clear()
            self.headers.clear()
            self._attempts.clear()
            self.sent_nbytes = self.most_at_once = 0

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        """Answer one request. The threads of the server call it."""
        key = unquote(urlsplit(request.path).path).strip("/")
        with self._lock:
            attempt = self._attempts[key]
            self._attempts[key] += 1
            self.requests.append(key)
            self.headers.append(dict(request.headers))
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.latency)
            fault = self.fault(key, attempt) if self.fault else None
            if fault == "hang":
                self._closing.wait(60)
            if fault in ("drop", "hang"):
                request.close_connection = True
                return
            status = fault if isinstance(fault, int) else None
            found = self._found(key, request.headers.get("Range"), status)
            if self.change:
                found = self.change(key, *found)
            self._send(request, *found, body=body, cut=fault == "cut")
        finally:
            with self._lock:
                self._at_once -= 1

    def _found(
        self, key: str, wanted: str | None, fault: int | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and headers."""
        path = os.path.join(self.folder, *key.split("/"))
        if fault is not None:
            return fault, b"as the test wants it", {}
        if not os.path.isfile(path):
            return 404, b"not here", {}
        with open(path, "rb") as file:
            data = file.read()
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted or "")
        if not (found and self.ranges):
            return 200, data, {"Accept-Ranges": "bytes"} if self.ranges else {}
        size = len(data)
        first, last = found.groups()
        if first:
            start, stop = int(first), min(int(last or size - 1) + 1, size)
        else:  # the last bytes
            start, stop = max(0, size - int(last)), size
        if start >= size:
            return 416, b"", {"Content-Range": f"bytes */{size}"}
        return 206, data[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}

    def _send(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        data: bytes,
        headers: dict[str, str],
        *,
        body: bool,
        cut: bool,
    ) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if "Transfer-Encoding" in headers:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
        else:
            request.send_header("Content-Length", str(len(data)))
        request.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        request.send_header("ETag", '"always the same"')  # which clouds must send
        request.end_headers()
        if body:
            with self._lock:  # before sending: the client may look here at once
                self.sent_nbytes += len(data)
            request.wfile.write(data[: len(data) // 2] if cut else data)
        request.close_connection |= cut
