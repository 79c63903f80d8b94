"""Freed memory goes back to the system."""

import subprocess
import sys

import pytest

# glibc keeps the freed blocks that lie below a used one, unless a program tells it to give them back.
CODE = """
from pathlib import Path
from benchmark.core.freed_memory import give_back_memory

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

blocks = [bytearray(4000) for _ in range(20_000)]
last = blocks.pop()
blocks.clear()
before = resident()
give_back_memory()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps freed memory in this way")
def test_freed_memory_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 40_000_000
