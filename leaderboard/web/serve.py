"""A board and its records over HTTP, to look at and never to change."""

import ipaddress
import os
import signal
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from benchmark.core.errors import UserError

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".parquet": "application/vnd.apache.parquet",
}
PAGE = "index.html"


class BoardServer(ThreadingHTTPServer):
    """Answers GET and HEAD for files of the kinds in TYPES inside `folder` and `records`, and for nothing else.

    Paths are those of the files below the folder that holds both, so that the page's links to records lead there.
    Raises UserError if `folder` holds no page, or the address cannot be had.
    """

    daemon_threads = True

    def __init__(self, folder: Path, records: Path, host: str, port: int) -> None:
        self.open = (folder.resolve(), records.resolve())
        self.root = Path(os.path.commonpath(self.open))
        self.host = host
        if not (folder / PAGE).is_file():
            raise UserError(f"{folder / PAGE}: is missing; benchmark leaderboard build makes it")
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"{host}:{port}: cannot be listened on ({reason}); give another --port or --host") from None

    @property
    def home(self) -> str:
        """The path of the page."""
        return "/" + (self.open[0] / PAGE).relative_to(self.root).as_posix()

    @property
    def address(self) -> str:
        """Where a browser on this machine finds the page."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host
        return f"http://{host}:{self.server_port}/"

    def knows(self, host: str) -> bool:
        """Whether a Host header is this server's: an IP address, localhost or its own name.

        Any other name is one that somebody's page made lead here, so as to read what only this machine should see.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # no host that there could be
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in (self.host.lower(), "localhost")
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over a browser that hung up; anything else is told as usual."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def find(self, path: str) -> Path | None:
        """The file that the path of a request asks for; None if it is not one that may be read here."""
        try:
            file = (self.root / unquote(path, errors="surrogateescape").lstrip("/")).resolve()
            ours = any(file.is_relative_to(folder) for folder in self.open)
            hidden = any(part.startswith(".") for part in file.relative_to(self.root).parts) if ours else True
            return file if not hidden and file.suffix in TYPES and file.is_file() else None
        except (OSError, ValueError):  # a name that no file can have
            return None


class _Handler(SimpleHTTPRequestHandler):
    server: BoardServer
    server_version, sys_version = "board", ""
    timeout = 30

    def send_head(self) -> Any:
        """Send status and headers; returns the open file, or None where there is nothing to send."""
        if not self.server.knows(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.FORBIDDEN, "Not a name of this server")
            return None
        try:
            path = urlsplit(self.path).path
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST, "Not an address")
            return None
        if path == "/" and self.server.home != f"/{PAGE}":
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", self.server.home)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        file = self.server.find(self.server.home if path == "/" else path)
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND, "Not here")
            return None
        try:
            content = file.open("rb")
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND, "Not here")
            return None
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[file.suffix])
        self.send_header("Content-Length", str(os.fstat(content.fileno()).st_size))
        # The page brings its own policy, by the hashes of its scripts; nothing else that is served has any.
        policy = "frame-ancestors 'none'" if file.suffix == ".html" else "default-src 'none'; sandbox"
        self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        return content

    def end_headers(self) -> None:
        """Add what every answer says."""
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
        """Say nothing: a page that is looked at is no news."""


def serve(folder: Path, records: Path, host: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve the board in `folder` and its `records` until Ctrl-C or SIGTERM; `tell` is given the address."""
    with BoardServer(folder, records, host, port) as server:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        tell(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, before)
