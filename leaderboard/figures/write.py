"""Writes a figure as three files: its numbers as CSV, its chart as SVG and PNG."""

import csv
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

from benchmark.core.files import replacing, write_atomically

SCALE = 2  # pixels of the PNG for each pixel of the SVG


def write_figure(folder: Path, name: str, lines: list[dict[str, Any]], chart: Any) -> list[Path]:
    """Write `name`.csv, .svg and .png; equal numbers give equal bytes.

    Returns:
        The three paths.
    """
    import vl_convert

    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.{kind}" for kind in ("csv", "svg", "png")]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_atomically(files[0], out.getvalue())
    spec = json.dumps(chart.to_dict())
    write_atomically(files[1], vl_convert.vegalite_to_svg(spec))
    with replacing(files[2]) as temporary:
        temporary.write_bytes(compressed(vl_convert.vegalite_to_png(spec, scale=SCALE)))
    return files


def compressed(png: bytes) -> bytes:
    """The same picture in fewer bytes, since vl-convert hardly compresses.

    A PNG is a signature of eight bytes and chunks of length, type, data and checksum; the data of all chunks of type
    IDAT together are one zlib stream (PNG, third edition, W3C 2025, sections 5 and 10).
    """
    chunks, offset = [], 8
    while offset < len(png):
        (length,) = struct.unpack_from(">I", png, offset)
        chunks.append((png[offset + 4 : offset + 8], png[offset + 8 : offset + 8 + length]))
        offset += 12 + length
    pixels = zlib.decompress(b"".join(data for kind, data in chunks if kind == b"IDAT"))
    before = [chunk for chunk in chunks if chunk[0] not in (b"IDAT", b"IEND")]
    out = png[:8]
    for kind, data in [*before, (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b"")]:
        out += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return out
