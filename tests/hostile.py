"""Strategies that generate hostile files, and the check that a reader accepts or rejects one: for tests of readers."""

import copy
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

from benchmark.core.errors import MAX_MESSAGE, UserError

SECONDS = 60  # to read or reject a file, also on a slow machine

DEEP = 100_000
NASTY = (
    b"\x00",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\r\n",
    b"\r",
    b"\\ud800",
    b"\xe2\x80\xa8",
    b"\x1b[2J",
    b"1e400",
    b"-1e400",
    b"NaN",
    b"-Infinity",
    b"9" * 5_000,
    b"0x" + b"f" * 5_000,
    b"-1",
    b"[" * DEEP,
    b'{"a":' * DEEP,
    b"- " * 2_000,
    b"? " * 2_000,
    b"&a [*a, *a]",
    b"<<: *a",
    b"!!python/name:os.system",
    b"!!int ''",
    b"!!bool x",
    b"!!binary x",
    b"1" + b":59" * 2_000,
    b"2026-13-45",
    b'"',
    b"'",
    b",",
    b"\n",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"''",
    b"../../etc/passwd",
    b"x" * 200_000,
    b"<name>" * 500,
)
VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        2**63,
        10**400,
        float("nan"),
        float("inf"),
        1e308,
        "",
        " ",
        "\0",
        "\ud800",
        "\x1b[2J",
        "\u2028",
    ),
    *([], {}, [[]], [None], [[[]]], {"": None}, {"text": 7}, "../../x", "x" * 10_000, [0, 10**9], [-1, 2]),
)


@contextmanager
def _time_limit() -> Iterator[None]:
    def over(*_: object) -> None:
        raise TimeoutError(f"not read within {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, over)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def refusal(read: Callable[[], object], named: str) -> str:
    """Call `read`; returns the line of its UserError, or "" if it succeeds. Other exceptions are raised.

    The line must be a single line of bounded length that contains `named`.
    """
    try:
        with _time_limit():
            read()
    except UserError as error:
        line = str(error)
        assert line.splitlines() == [line], line
        assert len(line) <= MAX_MESSAGE + 10, line
        assert named in line, line
        return line
    return ""


@st.composite
def spoilt(draw: st.DrawFn, valid: bytes) -> bytes:
    """A valid file in which some bytes are removed, doubled, changed, or replaced by entries of NASTY."""
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        first, last = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        last = min(last, first + draw(st.integers(0, 60)))
        match draw(st.integers(0, 4)):
            case 0:
                del data[first:last]
            case 1:
                data[last:last] = data[first:last]
            case 2:
                data[first:last] = draw(st.sampled_from(NASTY))
            case 3:
                data[first:first] = draw(st.sampled_from(NASTY))
            case _:
                data[first:last] = draw(st.binary(max_size=8))
    return bytes(data)


@st.composite
def twisted(draw: st.DrawFn, valid: Any) -> Any:
    """A valid JSON value in which some inner values are replaced, removed or doubled."""
    value = json.loads(json.dumps(valid))
    for _ in range(draw(st.integers(1, 3))):
        targets = [(value, key) for key in _keys(value)]
        while targets:
            container, key = draw(st.sampled_from(targets))
            deeper = [(container[key], inner) for inner in _keys(container[key])]
            if not deeper or draw(st.booleans()):
                _twist(draw, container, key)
                break
            targets = deeper
    return value


def _twist(draw: st.DrawFn, container: Any, key: Any) -> None:
    match draw(st.integers(0, 3)):
        case 0:
            del container[key]
        case 1 if isinstance(container, list):
            container.append(container[key])
        case _:
            container[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []


def dumped(value: Any) -> bytes:
    """A JSON value as bytes, lone surrogates escaped."""
    return json.dumps(value).encode()


_ARRAYS = (
    lambda: pa.array([None, None]),
    lambda: pa.array([7, -1]),
    lambda: pa.array([2**63, 1], pa.uint64()),
    lambda: pa.array([1.5, float("nan")]),
    lambda: pa.array([True, None]),
    lambda: pa.array(["", "x"]),
    lambda: pa.array(["test", "development"]),
    lambda: pa.array(["a", None], pa.large_string()),
    lambda: pa.array([b"\xff", b"x"]),
    lambda: pa.array([2**62, -(2**62)], pa.timestamp("s")),
    lambda: pa.array([2**62, 1], pa.timestamp("ns", "Nowhere/Else")),
    lambda: pa.array([2**62, 1], pa.duration("s")),
    lambda: pa.array([2**31 - 1, -(2**31)], pa.date32()),
    lambda: pa.array([["a"], None]),
    lambda: pa.array([[["a"]], []]),
    lambda: pa.array([[{"question": "q", "answers": ["a"]}], [{"question": None, "answers": None}]]),
    lambda: pa.array([{"text": ["a"]}, {"text": None}]),
    lambda: pa.array([[("k", "v")], []], pa.map_(pa.string(), pa.string())),
    lambda: pa.array(["x", "x"]).dictionary_encode(),
)


@st.composite
def tables(draw: st.DrawFn, valid: pa.Table) -> pa.Table:
    """A table of two rows like a valid one, but with some columns removed, renamed or of another type."""
    columns, names = [], []
    for name in valid.column_names:
        what = draw(st.integers(0, 9))
        if what == 0:
            continue
        names.append(draw(st.sampled_from((*valid.column_names, ""))) if what == 1 else name)
        kept = valid.column(name)[:2]
        columns.append(draw(st.sampled_from(_ARRAYS))() if what < 6 or len(kept) < 2 else kept)
    return pa.table(columns, names=names)


def is_written(table: pa.Table, path: Path) -> bool:
    """Write a table as Parquet; returns False if Parquet cannot hold it."""
    try:
        pq.write_table(table, path)
    except (pa.ArrowException, ValueError):
        return False
    return True


def endless(folder: Path, suffix: str = "") -> list[Path]:
    """Paths that lead to no file: a folder, a pipe, a device, a link to itself, a missing file, and invalid names."""
    kinds = [folder / f"{kind}{suffix}" for kind in ("folder", "pipe", "device", "loop", "nothing")]
    kinds[0].mkdir()
    os.mkfifo(kinds[1])
    kinds[2].symlink_to("/dev/zero")
    kinds[3].symlink_to(kinds[3])
    return [*kinds, folder / f"{'n' * 300}{suffix}", folder / f"nul\0{suffix}"]
