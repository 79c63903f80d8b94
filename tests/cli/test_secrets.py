"""The token for gated models goes to the hub alone: it is never printed or stored."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmark import ROOT
from benchmark.core.errors import UserError, hide_secrets
from benchmark.suite.schema import validate

TOKEN, OLD, PASSWORD = "hf_SentinelOfThisTest0123", "an-odd-sentinel", "sentinel-of-an-address"
KEY = "sentinel-of-a-writer"
SECRETS = (TOKEN, OLD, PASSWORD, KEY)
ENVIRONMENT = {**os.environ, "HF_TOKEN": TOKEN, "HUGGING_FACE_HUB_TOKEN": OLD, "WRITER_KEY": KEY}
SUITE = {
    "name": "gated",
    "models": {"mine": "some/body"},
    "tasks": ["biography"],
    "train": ["mine"],
    "methods": ["plain"],
    "budgets": [{"steps": 1}],
}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments and all tokens set."""
    command = [sys.executable, *arguments]
    variables = {**ENVIRONMENT, **environment}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


def python(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python code with all tokens set."""
    return run("-c", command, **environment)


def benchmark(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command with all tokens set, and check that it prints none of them."""
    done = run("-m", "benchmark", *arguments, **environment)
    printed = done.stdout + done.stderr
    assert not [secret for secret in SECRETS if secret in printed], printed
    return done


class Echo(BaseHTTPRequestHandler):
    """A hub that refuses every request and repeats its headers."""

    received: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        """Refuse, with all headers of the request in the answer."""
        headers = " ".join(f"{name}: {value}" for name, value in self.headers.items())
        self.received.append(headers)
        self.send_response(401, f"No access with {self.headers.get('Authorization')}")
        self.send_header("X-Error-Message", headers)
        self.end_headers()
        self.wfile.write(headers.encode())

    do_HEAD = do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Log nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    """Host and port of a hub that repeats the tokens it receives."""
    Echo.received.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_error_does_not_show_the_token_that_the_hub_repeats(hub: str, tmp_path: Path) -> None:
    file = tmp_path / "gated.yaml"
    home = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1", "HF_ENDPOINT": f"http://{hub}"}
    for change in ({}, {"models": {"mine": {"model": "zoo:small", "adapter": "some/body"}}}):
        file.write_text(json.dumps({**SUITE, **change}))
        done = benchmark("plan", str(file), "--results", str(tmp_path), **home)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "some/body" in done.stderr and "***" in done.stderr, done.stderr
    assert any(TOKEN in headers for headers in Echo.received), "the token was not used at all"


def test_an_error_does_not_show_the_password_of_an_address(hub: str, tmp_path: Path) -> None:
    file = tmp_path / "gated.yaml"
    home = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    file.write_text(json.dumps(SUITE))
    for host in (hub, "127.0.0.1:9"):
        done = benchmark("plan", str(file), **home, HF_ENDPOINT=f"http://me:{PASSWORD}@{host}")
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    file.write_text(json.dumps({**SUITE, "models": {"mine": f"https://me:{PASSWORD}@{hub}/some/body"}}))
    assert benchmark("plan", str(file), **home).returncode == 2


def test_the_key_of_a_writer_is_in_no_message_and_no_file(hub: str, tmp_path: Path) -> None:
    file = tmp_path / "written.yaml"
    folders = ("--results", str(tmp_path / "results"))
    writer = {"api": f"http://{hub}/v1", "model": "m", "key_from": "WRITER_KEY"}
    written = {"models": {"mine": "zoo:small"}, "methods": [{"name": "rewrite", "writer": "w"}]}
    for change in ({"api": f"http://me:{PASSWORD}@{hub}/v1"}, {"key_from": KEY}):
        with pytest.raises(UserError) as error:
            validate({**SUITE, **written, "writers": {"w": {**writer, **change}}}, "suite")
        assert not [secret for secret in SECRETS if secret in str(error.value)]
    file.write_text(json.dumps({**SUITE, **written, "writers": {"w": writer}}))
    done = benchmark("run", str(file), *folders, "--plain", NO_PROXY="127.0.0.1")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "refuses the key" in done.stderr, done.stderr
    assert any(KEY in headers for headers in Echo.received), "the key was not used at all"
    assert benchmark("plan", str(file), *folders, "--stages", str(tmp_path / "stages")).returncode == 0
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("-write-" in path.name for path in files)
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_the_doctor_says_that_a_token_is_set_without_showing_it(tmp_path: Path) -> None:
    assert "with a token" in benchmark("doctor", HF_HUB_OFFLINE="0").stdout
    (tmp_path / "token").write_text(PASSWORD)
    command = "from benchmark.doctor import examine; print(examine())"
    stored = {"HF_HOME": str(tmp_path), "HF_TOKEN": "", "HUGGING_FACE_HUB_TOKEN": "", "HF_HUB_OFFLINE": "0"}
    done = python(command, **stored)
    assert "with a token" in done.stdout and PASSWORD not in done.stdout


def test_a_traceback_does_not_show_the_token() -> None:
    failing = f"def app(): raise RuntimeError('token {TOKEN}')"
    done = python(f"import benchmark.cli.app as cli\n{failing}\ncli.app = app; cli.main()")
    assert done.returncode == 1
    assert "RuntimeError: token ***" in done.stderr and TOKEN not in done.stderr


def test_only_the_secret_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", OLD)
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", "")
    assert hide_secrets(f"Bearer {OLD}, hf_{'a' * 34}.") == "Bearer ***, ***."
    assert hide_secrets("https://me:word@host/a@b and /home/me@host") == "https://***@host/a@b and /home/me@host"
    assert str(UserError(f"x: {OLD}")) == "x: ***"
    plain = "hf_hub: models/hf_model.safetensors, https://huggingface.co/some/body"
    assert hide_secrets(plain) == plain


@pytest.mark.slow
def test_the_files_of_a_run_and_its_board_hold_no_token(tmp_path: Path) -> None:
    done = benchmark("run", "smoke", "--results", str(tmp_path / "results"), "--plain")
    assert done.returncode == 0, done.stderr
    records = str(tmp_path / "results" / "records")
    assert benchmark("leaderboard", "build", "--records", records, "--out", str(tmp_path / "board")).returncode == 0
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} >= {".json", ".jsonl", ".parquet", ".safetensors", ".html"}
    for file in files:
        content = file.read_bytes()
        assert not [secret for secret in SECRETS if secret.encode() in content], file
