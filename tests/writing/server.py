"""A small server that speaks OpenAI's protocol as a test scripts it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any]  # status and content: JSON values, or bytes that are sent as they are


class Script:
    """What a server answers, and what it was asked.

    Attributes:
        reply: Gives the reply to the n-th request (from 0) with this content.
        models: Names that it lists; None if it has no list.
        asked: The contents of all requests, with their path.
        headers: Their Authorization headers.
    """

    def __init__(self, reply: Callable[[int, dict[str, Any]], Reply], models: list[str] | None = None) -> None:
        self.reply, self.models = reply, models
        self.asked: list[dict[str, Any]] = []
        self.headers: list[str | None] = []
        self.lock = threading.Lock()


def chat(text: str, ended: str = "stop", tokens: int = 3) -> Reply:
    """A whole answer to a chat."""
    choice = {"index": 0, "finish_reason": ended, "message": {"role": "assistant", "content": text}}
    return 200, _answer(choice, tokens)


def completion(text: str, ended: str = "stop", tokens: int = 3) -> Reply:
    """A whole answer to a completion."""
    return 200, _answer({"index": 0, "finish_reason": ended, "text": text}, tokens)


def _answer(choice: dict[str, Any], tokens: int) -> dict[str, Any]:
    usage = {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens}
    return {"id": "a", "created": 1, "model": "m", "object": "answer", "choices": [choice], "usage": usage}


def prompt_of(asked: dict[str, Any]) -> str:
    """The prompt of a request; of a chat its last message."""
    return str(asked["messages"][-1]["content"] if "messages" in asked else asked["prompt"])


@contextmanager
def serving(script: Script) -> Iterator[str]:
    """Serve a script; yields the address up to /v1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with script.lock:
                script.headers.append(self.headers.get("Authorization"))
            if script.models is None:
                self._send(500, b"no list")
            else:
                models = [{"id": name, "object": "model", "created": 1, "owned_by": "me"} for name in script.models]
                self._send(200, {"object": "list", "data": models})

        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with script.lock:
                number = len(script.asked)
                script.asked.append({**content, "path": self.path})
                script.headers.append(self.headers.get("Authorization"))
            self._send(*script.reply(number, content))

        def _send(self, status: int, content: Any) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After-Ms", "1")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that gave up waiting

    with Quiet(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()
