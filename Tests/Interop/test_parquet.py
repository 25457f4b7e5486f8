"""`data`, `tokenizer train` and the rest on Parquet files that pyarrow writes, in every codec and version of pages, and on WebDataset archives
that Python's tarfile writes; what is learned is that of the same rows as JSONL."""

import io
import itertools
import json
import random
import struct
import subprocess
import tarfile

import pyarrow as pa
import pytest
from conftest import REPOSITORY
from PIL import Image
from pyarrow import parquet

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def tokenizer(minimind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "text.txt").write_text("the cat and the dog, a red square\n世界上最高的山\n" * 40, encoding="utf-8")
    minimind("tokenizer", "train", "--input", folder / "text.txt", "--template", "minimind-3", "--vocab-size", 400,
             "--output", folder / "out")
    return folder / "out"


def shards(minimind, kind, source, tokenizer, output, *options):
    """The bytes of everything that is learned."""
    minimind("data", kind, "--input", source, "--tokenizer", tokenizer, "--output", output, *options)
    return {path.name: path.read_bytes() for path in sorted(output.iterdir()) if path.suffix in (".tokens", ".pictures")}


def ids(file):
    """The tokens of a shard; any other file as it is."""
    return file[128:128 + 2 * struct.unpack("<Q", file[32:40])[0]] if file.startswith(b"MMTOKENS") else file


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_files_of_the_unit_tests_are_those_that_pyarrow_writes():
    """So they can be made again: Tests/ParquetTests reads them."""
    rows = 3 * [
        {"text": 'Once "upon"\n一次', "number": 3, "share": 0.5, "ok": True, "image_bytes": [b"\x89PNG", b""],
         "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": None}],
         "image": {"bytes": b"\xff\xd8", "path": None}},
        {"text": None, "messages": []},
        {"text": "", "number": -7, "share": 1e20, "ok": False, "image_bytes": [], "image": {"bytes": None, "path": "a.png"}}]
    for codec, version, dictionary in (("none", 1, False), ("snappy", 1, True), ("zstd", 2, True), ("gzip", 2, False)):
        written = io.BytesIO()
        parquet.write_table(
            pa.Table.from_pylist(rows), written, compression=codec, data_page_version=f"{version}.0", use_dictionary=dictionary,
            row_group_size=5, write_statistics=False, store_schema=False)
        name = f"{'plain' if codec == 'none' else codec}_v{version}.parquet"
        assert (REPOSITORY / "Tests/TestSupport/Fixtures/parquet" / name).read_bytes() == written.getvalue(), name


def texts(count):
    chooser = random.Random(20)
    words = ["the", "cat", "dog", "red", "square", "世界", "山", '"quoted"', "back\\slash", "a\tb\nc", "\x01"]
    return [{"id": index, "text": None if index % 97 == 3 else " ".join(chooser.choices(words, k=chooser.randint(1, 60))),
             "score": chooser.random()} for index in range(count)]


@pytest.mark.parametrize("codec,version,dictionary", list(itertools.product(["none", "snappy", "gzip", "zstd"], ["1.0", "2.0"], [True, False])))
def test_rows_of_every_codec_and_version_are_those_of_jsonl(minimind, tokenizer, tmp_path, codec, version, dictionary):
    rows = texts(3000)
    table = pa.Table.from_pylist(rows)
    parquet.write_table(table, tmp_path / "rows.parquet", compression=codec, data_page_version=version, use_dictionary=dictionary,
                        row_group_size=700, data_page_size=4096)
    expected = shards(minimind, "pretrain", write_lines(tmp_path / "rows.jsonl", rows), tokenizer, tmp_path / "lines")
    assert shards(minimind, "pretrain", tmp_path / "rows.parquet", tokenizer, tmp_path / "columns") == expected
    kept = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("lines", "columns")]
    assert [(part["rowsRead"], part["rowsKept"]) for part in kept] == [(3000, kept[0]["rowsKept"])] * 2
    assert {field["name"] for field in kept[1]["unusedFields"]} == {"id", "score"}


def conversations(count):
    chooser = random.Random(4)
    return [{"conversations": [turn for _ in range(chooser.randint(1, 3)) for turn in (
        {"role": "user", "content": "the cat " * chooser.randint(1, 9)}, {"role": "assistant", "content": "the dog 山 " * chooser.randint(1, 9)})]}
        for _ in range(count)]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_conversations_as_lists_of_structures_and_as_json_in_a_text(minimind, tokenizer, tmp_path, version):
    rows = conversations(500)
    expected = shards(minimind, "sft", write_lines(tmp_path / "rows.jsonl", rows), tokenizer, tmp_path / "lines")
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "nested.parquet", data_page_version=version, row_group_size=64)
    assert shards(minimind, "sft", tmp_path / "nested.parquet", tokenizer, tmp_path / "nested") == expected
    written = [{"conversations": json.dumps(row["conversations"], ensure_ascii=False)} for row in rows]
    parquet.write_table(pa.Table.from_pylist(written), tmp_path / "texts.parquet", data_page_version=version, compression="zstd")
    assert shards(minimind, "sft", tmp_path / "texts.parquet", tokenizer, tmp_path / "texts") == expected


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    """Rows with pictures in files, and the bytes of these files by their names."""
    folder = tmp_path_factory.mktemp("pictured")
    files, rows = {}, []
    for index in range(60):
        names = []
        for part in range(1 + index % 3 // 2):
            name, kind = f"{index}-{part}.{'png' if index % 2 else 'jpg'}", "PNG" if index % 2 else "JPEG"
            buffer = io.BytesIO()
            Image.new("RGB", (20, 16), (index * 4, 90, part * 80)).save(buffer, kind)
            files[name] = buffer.getvalue()
            (folder / name).write_bytes(files[name])
            names.append(name)
        rows.append({"image": ",".join(names), "conversations": [
            {"role": "user", "content": "<image>" * len(names) + "\nthe cat"}, {"role": "assistant", "content": f"the dog {index}"}]})
    write_lines(folder / "rows.jsonl", rows)
    return folder, rows, files


SIZES = ("--picture-size", 16, "--picture-tokens", 4)


def test_the_layout_of_minimind_v_and_that_of_datasets(minimind, tokenizer, pictured, tmp_path):
    folder, rows, files = pictured
    expected = shards(minimind, "sft", folder / "rows.jsonl", tokenizer, tmp_path / "lines", *SIZES)
    contents = [[files[name] for name in row["image"].split(",")] for row in rows]
    texts = [json.dumps(row["conversations"], ensure_ascii=False) for row in rows]
    # Lists of bytes; of one picture its bytes alone, in a file of their own.
    lists = pa.table({"conversations": texts, "image_bytes": pa.array(contents, pa.list_(pa.binary()))})
    parquet.write_table(lists, tmp_path / "lists.parquet", row_group_size=7)
    assert shards(minimind, "sft", tmp_path / "lists.parquet", tokenizer, tmp_path / "lists", *SIZES) == expected
    structures = pa.table({"messages": [row["conversations"] for row in rows], "images": [
        [{"bytes": part, "path": None} for part in parts] for parts in contents]})
    parquet.write_table(structures, tmp_path / "structures.parquet", compression="zstd", data_page_version="2.0")
    assert shards(minimind, "sft", tmp_path / "structures.parquet", tokenizer, tmp_path / "structures", *SIZES) == expected
    single = [index for index, parts in enumerate(contents) if len(parts) == 1]
    write_lines(folder / "single.jsonl", [rows[index] for index in single])
    flat = pa.table({"conversations": [texts[index] for index in single], "image_bytes": [contents[index][0] for index in single]})
    parquet.write_table(flat, tmp_path / "flat.parquet")
    assert shards(minimind, "sft", tmp_path / "flat.parquet", tokenizer, tmp_path / "flat", *SIZES) == shards(
        minimind, "sft", folder / "single.jsonl", tokenizer, tmp_path / "single", *SIZES)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_samples_of_webdataset(minimind, tokenizer, pictured, tmp_path, form):
    folder, rows, files = pictured
    rows = [row for row in rows if "," not in row["image"]]
    stem = "a" * 90 + "/" + "b" * 60 if form != tarfile.USTAR_FORMAT else "part"

    def archive(path, parts):
        mode = "w:gz" if path.suffix == ".gz" else "w"
        with tarfile.open(path, mode, format=form) as tar:
            for name, content in parts:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        return path

    def samples(ending, content):
        return [(f"{stem}{index:05d}.{kind}", value) for index, row in enumerate(rows)
                for kind, value in ((row["image"].split(".")[1], files[row["image"]]), (ending, content(row)))]

    expected = shards(minimind, "sft", write_lines(folder / "tar.jsonl", rows), tokenizer, tmp_path / "lines", *SIZES)
    whole = samples("json", lambda row: json.dumps({"conversations": row["conversations"]}, indent=1).encode())
    bare = samples("json", lambda row: json.dumps({"conversations": [
        {"role": "user", "content": "the cat"}, row["conversations"][1]]}).encode())
    for name, parts in (("whole.tar", whole), ("bare.tar", bare), ("packed.tar.gz", whole)):
        found = shards(minimind, "sft", archive(tmp_path / name, parts), tokenizer, tmp_path / (name + "-out"), *SIZES)
        assert found == expected, name
    captions = write_lines(folder / "captions.jsonl", [
        {"image": row["image"], "text": "<image>\n" + row["conversations"][1]["content"]} for row in rows])
    expected = shards(minimind, "pretrain", captions, tokenizer, tmp_path / "captions", *SIZES)
    parts = samples("txt", lambda row: (row["conversations"][1]["content"] + "\n").encode())
    found = shards(minimind, "pretrain", archive(tmp_path / "txt.tar", parts), tokenizer, tmp_path / "txt", *SIZES)
    # Shards say how many bytes a document's text has, and here it has no placeholder.
    assert {name: ids(part) for name, part in found.items()} == {name: ids(part) for name, part in expected.items()}


def test_what_is_not_read_is_refused_by_name(minimind, tokenizer, tmp_path, binary):
    table = pa.Table.from_pylist(texts(50))

    def refusal(path, *options):
        run = minimind("data", "pretrain", "--input", path, "--tokenizer", tokenizer, "--output", tmp_path / "out", *options, check=False)
        assert run.returncode == 1 and not (tmp_path / "out").exists()
        return run.stderr

    for name, options, reason in (
            ("brotli", {"compression": "brotli"}, "compressed by Brotli"), ("lz4", {"compression": "lz4"}, "compressed by LZ4"),
            ("delta", {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY"}}, "DELTA_BYTE_ARRAY")):
        parquet.write_table(table, tmp_path / f"{name}.parquet", **options)
        assert reason in refusal(tmp_path / f"{name}.parquet")
    parquet.write_table(table, tmp_path / "cut.parquet")
    whole = (tmp_path / "cut.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(whole[:-100])
    assert "cut.parquet is damaged or was copied in part" in refusal(tmp_path / "cut.parquet")
    (tmp_path / "lines.jsonl").write_text('{"text": "a"}\n')
    with tarfile.open(tmp_path / "lines.tar", "w") as tar:
        tar.add(tmp_path / "lines.jsonl", "lines.jsonl")
    assert "Unpack it first" in refusal(tmp_path / "lines.tar")
    (tmp_path / "damaged.tar").write_bytes((tmp_path / "lines.tar").read_bytes()[:700])
    assert "tar archive" in refusal(tmp_path / "damaged.tar")
    piped = subprocess.run(
        [binary, "data", "pretrain", "--input", "/dev/stdin", "--tokenizer", tokenizer, "--output", tmp_path / "out"],
        input=whole, capture_output=True)
    assert piped.returncode == 1 and b"Name a file" in piped.stderr


def test_a_large_file_takes_the_memory_of_its_pages(minimind, tokenizer, tmp_path, binary):
    writer = None
    for part in range(12):
        table = pa.table({"text": [f"{part} {index} " + "the cat " * 2000 for index in range(1500)]})
        writer = writer or parquet.ParquetWriter(tmp_path / "large.parquet", table.schema, compression="none", use_dictionary=False)
        writer.write_table(table)
    writer.close()
    assert (tmp_path / "large.parquet").stat().st_size > 250 << 20
    run = subprocess.run(
        ["/usr/bin/env", "bash", "-c", 'ulimit -v 1500000; exec "$@"', "-", binary, "tokenizer", "train", "--input", tmp_path / "large.parquet",
         "--vocab-size", "300", "--output", tmp_path / "out"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
