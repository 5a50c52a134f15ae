"""The format on disk: what was written whole can be read, however the writing ended."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from traincheck.errors import TraceError
from traincheck.trace import Manifest, ProcessWriter, TraceReader
from traincheck.trace.layout import FAMILIES, FORMAT_VERSION, MANIFEST


def new_trace(path: Path) -> ProcessWriter:
    path.mkdir()
    Manifest().write(path)
    return ProcessWriter(path / "process-1-1")


def pack_marks(*rows: tuple[int, int, int]) -> bytes:
    import struct

    packer = struct.Struct(FAMILIES["marks"].struct_format)
    return b"".join(packer.pack(*row) for row in rows)


def test_rows_come_back(tmp_path: Path) -> None:
    writer = new_trace(tmp_path / "t")
    writer["names"].write_rows([(0, "relu"), (1, "übung")])
    writer["names"].write_rows([(2, "")])
    writer["marks"].write_packed(pack_marks((5, 1, 0), (9, 2, 0)))
    writer.close()
    (process,) = TraceReader(tmp_path / "t").processes()
    tables = process.poll()
    assert tables["names"].to_pydict() == {"id": [0, 1, 2], "text": ["relu", "übung", ""]}
    assert tables["marks"]["seq"].to_pylist() == [5, 9]
    assert tables["calls"].num_rows == 0
    assert not process.torn


def test_a_growing_trace_is_read_on_from_where_it_was(tmp_path: Path) -> None:
    writer = new_trace(tmp_path / "t")
    reader = TraceReader(tmp_path / "t")
    writer["marks"].write_packed(pack_marks((1, 0, 0)))
    (process,) = reader.processes()
    assert process.poll()["marks"]["seq"].to_pylist() == [1]
    assert process.poll()["marks"].num_rows == 0
    writer["marks"].write_packed(pack_marks((2, 0, 0)))
    writer["marks"].write_packed(pack_marks((3, 0, 0)))
    assert process.torn
    assert process.poll()["marks"]["seq"].to_pylist() == [2, 3]
    writer.close()
    assert process.poll()["marks"].num_rows == 0
    assert not process.torn
    assert reader.processes() == [process]


def test_every_cut_reads_up_to_the_last_whole_batch(tmp_path: Path) -> None:
    writer = new_trace(tmp_path / "t")
    ends = []
    path = tmp_path / "t" / "process-1-1" / "marks.arrow"
    for seq in range(4):
        writer["marks"].write_packed(pack_marks((seq, 0, 0)))
        ends.append(path.stat().st_size)
    writer.close()
    whole = path.read_bytes()
    for cut in range(0, len(whole), 7):
        path.write_bytes(whole[:cut])
        (process,) = TraceReader(tmp_path / "t").processes()
        assert process.poll()["marks"]["seq"].to_pylist() == list(range(sum(end <= cut for end in ends)))
        assert process.torn


def test_a_column_of_a_later_version_is_ignored(tmp_path: Path) -> None:
    new_trace(tmp_path / "t").close()
    schema = pa.schema([("seq", pa.int64()), ("novel", pa.string()), ("step", pa.int32()), ("kind", pa.int8())])
    with pa.ipc.new_stream(str(tmp_path / "t" / "process-1-1" / "marks.arrow"), schema) as stream:
        stream.write_batch(pa.record_batch([[1], ["x"], [2], [0]], schema=schema))
    (process,) = TraceReader(tmp_path / "t").processes()
    assert process.poll()["marks"].to_pylist() == [{"seq": 1, "step": 2, "kind": 0}]


def test_a_lost_column_is_an_error(tmp_path: Path) -> None:
    new_trace(tmp_path / "t").close()
    schema = pa.schema([("seq", pa.int64())])
    with pa.ipc.new_stream(str(tmp_path / "t" / "process-1-1" / "marks.arrow"), schema) as stream:
        stream.write_batch(pa.record_batch([[1]], schema=schema))
    with pytest.raises(TraceError, match="lacks the column 'step'"):
        TraceReader(tmp_path / "t").processes()[0].poll()


def test_what_is_no_trace_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes").write_text("x")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / MANIFEST).write_text("{")
    expected = {
        "missing": "no such trace", "empty": "empty", "file": "a file", "other": "no manifest",
        "broken": "cannot be read",
    }  # fmt: skip
    for name, words in expected.items():
        with pytest.raises(TraceError, match=words) as caught:
            TraceReader(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert "next:" in str(caught.value)


def test_another_major_version_is_refused_and_a_minor_one_read(tmp_path: Path) -> None:
    new_trace(tmp_path / "t").close()
    manifest = tmp_path / "t" / MANIFEST
    document = json.loads(manifest.read_text())
    assert document["format_version"] == FORMAT_VERSION
    manifest.write_text(json.dumps(document | {"format_version": "1.7", "novel": 1}))
    assert TraceReader(tmp_path / "t").manifest.format_version == "1.7"
    manifest.write_text(json.dumps(document | {"format_version": "2.0"}))
    with pytest.raises(TraceError, match=r"2\.0"):
        TraceReader(tmp_path / "t")


def test_the_streams_are_plain_arrow(tmp_path: Path) -> None:
    writer = new_trace(tmp_path / "t")
    writer["marks"].write_packed(pack_marks((1, 2, 0)))
    writer.close()
    with pa.ipc.open_stream(str(tmp_path / "t" / "process-1-1" / "marks.arrow")) as stream:
        assert stream.read_all().to_pylist() == [{"seq": 1, "step": 2, "kind": 0}]
