"""A read-only HTTP server for a board and its records."""

import ipaddress
import os
import signal
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

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
    """Serves the files inside `folder` and `records` whose suffix is in TYPES; answers GET and HEAD alone.

    URL paths are file paths below the common parent of both folders, so the page's relative links to records work.

    Raises:
        UserError: `folder` has no page, or the server cannot listen on the address.
    """

    daemon_threads = True

    def __init__(self, folder: Path, records: Path, host: str, port: int) -> None:
        self.served = (folder.resolve(), records.resolve())
        self.root = Path(os.path.commonpath(self.served))
        self.host = host
        if not (folder / PAGE).is_file():
            raise UserError(f"{folder / PAGE}: is missing; benchmark leaderboard build makes it")
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(
                f"{host}:{port}: cannot listen on this address ({reason}); give another --port or --host"
            ) from None

    @property
    def home(self) -> str:
        """URL path of the page."""
        return "/" + (self.served[0] / PAGE).relative_to(self.root).as_posix()

    @property
    def address(self) -> str:
        """Address of the page for a browser on this machine."""
        host = "127.0.0.1" if self.host == "0.0.0.0" else self.host
        return f"http://{host}:{self.server_port}/"

    def accepts_host(self, host: str) -> bool:
        """Whether a Host header names this server: an IP address, localhost or the name it listens on.

        Other names are refused: in a DNS rebinding attack, a foreign page resolves its own name to this server to read
        files that only this machine should see.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:  # not a valid host
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in (self.host.lower(), "localhost")
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that the browser closed; report other errors as usual."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def find(self, path: str) -> Path | None:
        """The file at the path of a request; None if there is none or it may not be served."""
        try:
            file = (self.root / unquote(path, errors="surrogateescape").lstrip("/")).resolve()
            if not any(file.is_relative_to(folder) for folder in self.served):
                return None
            hidden = any(part.startswith(".") for part in file.relative_to(self.root).parts)
            return file if not hidden and file.suffix in TYPES and file.is_file() else None
        except (OSError, RuntimeError, ValueError):  # not a valid file name, or a loop of links
            return None


class _Handler(SimpleHTTPRequestHandler):
    server: BoardServer
    server_version, sys_version = "board", ""
    timeout = 30

    def send_head(self) -> Any:
        """Send status and headers; returns the open file, or None if the answer has no body."""
        if not self.server.accepts_host(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.FORBIDDEN, "Unknown host name")
            return None
        try:
            path = urlsplit(self.path).path
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST, "Invalid address")
            return None
        if path == "/" and self.server.home != f"/{PAGE}":
            self.send_response(HTTPStatus.FOUND)
            self.send_header("Location", quote(self.server.home, errors="surrogateescape"))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        file = self.server.find(self.server.home if path == "/" else path)
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND, "Not found")
            return None
        try:
            content = file.open("rb")
        except OSError:
            self.send_error(HTTPStatus.NOT_FOUND, "Not found")
            return None
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPES[file.suffix])
        self.send_header("Content-Length", str(os.fstat(content.fileno()).st_size))
        # The page contains its own policy with the hashes of its scripts; other files may run no scripts at all.
        is_page = file == self.server.served[0] / PAGE
        policy = "frame-ancestors 'none'" if is_page else "default-src 'none'; sandbox"
        self.send_header("Content-Security-Policy", policy)
        self.end_headers()
        return content

    def end_headers(self) -> None:
        """Add the headers of every answer."""
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
        """Requests are not logged."""


def serve(folder: Path, records: Path, host: str, port: int, on_start: Callable[[str], None]) -> None:
    """Serve the board in `folder` and its `records` until Ctrl-C or SIGTERM.

    Args:
        folder: Folder with the page.
        records: Folder of the records that the page links to.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free port.
        on_start: Called with the address of the page once the server listens.
    """
    with BoardServer(folder, records, host, port) as server:
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
        on_start(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
        finally:
            signal.signal(signal.SIGTERM, previous)
