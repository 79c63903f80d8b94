"""`benchmark leaderboard serve`: which files it serves and which requests it refuses."""

import http.client
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark import ROOT
from benchmark.core.errors import UserError
from leaderboard.build import build
from leaderboard.web.serve import BoardServer
from tests.leaderboard.factory import write_record

Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder as compose.yaml uses it: records, their board, and artifacts of stages beside them."""
    folder = tmp_path / "results"
    write_record(folder / "records" / "tiny", name="one")
    build(folder / "records", folder / "board")
    (folder / "store").mkdir()
    (folder / "store" / "secret.json").write_text("{}", encoding="utf-8")
    (folder / "board" / "notes.py").write_text("", encoding="utf-8")
    (folder / "board" / ".hidden.json").write_text("{}", encoding="utf-8")
    (folder / "board" / "link.json").symlink_to(folder / "store" / "secret.json")
    return folder


@pytest.fixture
def server(results: Path) -> Iterator[BoardServer]:
    """A server of that folder on a free port."""
    with BoardServer(results / "board", results / "records", "127.0.0.1", 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def ask(server: BoardServer, path: str, method: str = "GET", host: str = "127.0.0.1") -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=5)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()


def test_the_page_its_records_and_answers_are_served(server: BoardServer, results: Path) -> None:
    status, headers, _ = ask(server, "/")
    assert (status, headers["location"]) == (302, "/board/index.html")
    status, headers, body = ask(server, "/board/index.html")
    assert (status, body) == (200, (results / "board" / "index.html").read_bytes())
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    status, headers, body = ask(server, "/records/tiny/one.json")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert body == (results / "records" / "tiny" / "one.json").read_bytes()
    assert "default-src 'none'" in headers["content-security-policy"]
    assert ask(server, "/records/tiny/one.answers.parquet")[2][:4] == b"PAR1"
    status, headers, body = ask(server, "/board/index.html", "HEAD")
    assert (status, body) == (200, b"") and int(headers["content-length"]) > 100_000


@pytest.mark.parametrize(
    "path",
    [
        "/board",
        "/board/",
        "/records/",
        "/store/secret.json",
        "/board/../store/secret.json",
        "/board/%2e%2e/store/secret.json",
        "/board/link.json",
        "/board/notes.py",
        "/board/.hidden.json",
        "//etc/passwd",
        "/board/%00.json",
        "/board/" + "a" * 300 + ".json",
    ],
)
def test_other_files_are_not_served_and_folders_are_not_listed(server: BoardServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_a_foreign_host_name_is_refused(server: BoardServer) -> None:
    assert ask(server, "/board/index.html", host="evil.example:8000")[0] == 403
    assert ask(server, "/board/index.html", host="localhost:8000")[0] == 200
    assert ask(server, "/board/index.html", host="[::1]:8000")[0] == 200


def test_invalid_hosts_and_addresses_are_refused_and_closed_connections_ignored(
    server: BoardServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(server, "/board/index.html", host="[")[0] == 403
    assert ask(server, "http://[/")[0] == 400
    try:
        raise BrokenPipeError
    except BrokenPipeError:
        server.handle_error(None, ("127.0.0.1", 1))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_methods_that_change_files_are_refused(server: BoardServer, method: str) -> None:
    assert ask(server, "/board/index.html", method)[0] == 501


def test_a_board_that_contains_its_records_is_served_at_the_root(tmp_path: Path) -> None:
    write_record(tmp_path / "results", name="one")
    build(tmp_path / "results", tmp_path)
    with BoardServer(tmp_path, tmp_path, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert b"<h1>CramBench leaderboard</h1>" in ask(server, "/")[2]
        assert ask(server, "/results/one.json")[0] == 200
        server.shutdown()


@pytest.mark.parametrize("name", ["\u0434\u043e\u0441\u043a\u0430", "a#b", "a%20b"])
def test_the_page_of_a_folder_with_an_unusual_name_is_found(tmp_path: Path, name: str) -> None:
    write_record(tmp_path / "records", name="one")
    build(tmp_path / "records", tmp_path / name)
    with BoardServer(tmp_path / name, tmp_path / "records", "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        status, headers, _ = ask(server, "/")
        assert status == 302 and ask(server, headers["location"])[0] == 200
        server.shutdown()


def test_only_the_board_may_run_scripts_and_a_loop_of_links_is_no_file(server: BoardServer, results: Path) -> None:
    (results / "records" / "evil.html").write_text("<script>1</script>", encoding="utf-8")
    (results / "records" / "loop.html").symlink_to(results / "records" / "loop.html")
    assert "sandbox" in ask(server, "/records/evil.html")[1]["content-security-policy"]
    assert "sandbox" not in ask(server, "/board/index.html")[1]["content-security-policy"]
    assert ask(server, "/records/loop.html")[0] == 404


def test_a_missing_page_and_a_port_in_use_are_errors_that_say_what_to_do(server: BoardServer, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="benchmark leaderboard build"):
        BoardServer(tmp_path, tmp_path, "127.0.0.1", 0)
    folder = server.served[0]
    with pytest.raises(UserError, match="--port"):
        BoardServer(folder, folder, "127.0.0.1", server.server_address[1])


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_builds_prints_its_address_and_ends_on_a_signal(results: Path, stop: signal.Signals) -> None:
    (results / "board" / "index.html").unlink()
    command = [sys.executable, "-m", "benchmark", "leaderboard", "serve", "--port", "0"]
    command += ["--records", str(results / "records"), "--folder", str(results / "board")]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline() == f"{results / 'board'}: board written\n"
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(stop)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
