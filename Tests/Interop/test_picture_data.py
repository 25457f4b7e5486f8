"""`data scenes` and `data sft` with pictures: files against Pillow, prepared pixels against its resize, tokens against `tokenizers`."""

import json
import struct

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer

pytestmark = pytest.mark.heavy
Image = pytest.importorskip("PIL.Image")


@pytest.fixture(scope="module")
def scenes(minimind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "out"
    minimind("data", "scenes", "--count", 40, "--held-out-count", 12, "--size", 72, "--output", folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer(minimind, scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer") / "out"
    text = folder.with_name("text.txt")
    text.write_text("".join(
        message["content"] + "\n" for row in rows(scenes / "train.jsonl") for message in row["conversations"]), encoding="utf-8")
    minimind("tokenizer", "train", "--input", text, "--output", folder, "--vocab-size", 400)
    return folder


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_scenes_are_pictures_that_pillow_reads_and_rows_that_name_them(scenes):
    texts = {"train": lambda row: row["conversations"][0]["content"], "captions": lambda row: row["text"], "squares": lambda row: row["text"],
             "held-out": lambda row: row["messages"][0]["content"]}
    for name, text in texts.items():
        for row in rows(scenes / f"{name}.jsonl"):
            image = Image.open(scenes / row["image"])
            assert image.format == "PNG" and image.mode == "RGB" and image.size == (72, 72)
            assert text(row).startswith("<image>\n") and text(row).count("<image>") == 1
    shares = {row["task"]: row["chance"] for row in rows(scenes / "held-out.jsonl")}
    assert {kind: round(1 / share) for kind, share in shares.items()} == {
        "colour": 6, "shape": 5, "count": 4, "position": 4, "relation": 2}


def test_a_tokenizer_of_the_words_has_each_name_as_one_token_wherever_it_stands(minimind, scenes, tmp_path):
    minimind("tokenizer", "train", "--input", scenes / "words.txt", "--vocab-size", 640, "--template", "minimind-3", "--split", "qwen2",
             "--output", tmp_path / "tokenizer")
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer/tokenizer.json"))
    texts = [row["text"] for name in ("squares", "captions") for row in rows(scenes / f"{name}.jsonl")]
    texts += [message["content"] for row in rows(scenes / "train.jsonl") for message in row["conversations"]]
    names = ["红色", "蓝色", "圆形", "五角星", "左上", "右下", " red", " star", " left", " bottom"]
    for name in names:
        count = sum(text.count(name) for text in texts)
        token = tokenizer.encode(name).ids
        assert len(token) == 1 and count > 3, (name, token, count)
        assert sum(tokenizer.encode(text).ids.count(token[0]) for text in texts) == count, name


def test_prepared_pictures_and_tokens_are_those_of_other_libraries(minimind, scenes, tokenizer, tmp_path):
    side, count = 32, 9
    minimind("data", "sft", "--input", scenes / "train.jsonl", "--tokenizer", tokenizer, "--output", tmp_path / "data",
             "--picture-size", side, "--picture-tokens", count, "--picture-token", "@", "--held-out", 0)
    manifest = json.loads((tmp_path / "data/manifest.json").read_text())
    source = rows(scenes / "train.jsonl")
    files = list(dict.fromkeys(row["image"] for row in source))
    pictures = (tmp_path / "data/pictures.pictures").read_bytes()
    assert struct.unpack("<8sIII", pictures[:20]) == (b"MMPICTUR", 1, side, len(files))
    found = np.frombuffer(pictures[64:], np.uint8).reshape(len(files), 3, side, side)
    for pixels, file in zip(found, files):
        expected = np.asarray(Image.open(scenes / file).resize((side, side), Image.BICUBIC)).transpose(2, 0, 1)
        assert np.abs(pixels.astype(int) - expected).max() <= 1
    assert manifest["pictures"]["count"] == len(files) and manifest["rowsKept"] == len(source)

    # The placeholder takes the place of <image>, which an added token would hold.
    library = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    mark, image = library.token_to_id("@"), library.get_vocab_size()
    library.add_special_tokens([AddedToken("<image>", normalized=False)])
    shard = (tmp_path / "data/train-0.tokens").read_bytes()
    documents, tokens = struct.unpack("<QQ", shard[24:40])
    ids = np.frombuffer(shard[128:128 + 2 * tokens], np.uint16).tolist()
    expected = []
    for row in source:
        contents, text = [message["content"] for message in row["conversations"]], []
        for question, answer in zip(contents[::2], contents[1::2]):
            before = "\n" if text else ""
            text += library.encode(f"{before}<s>user\n{question}</s>\n<s>assistant\n", add_special_tokens=False).ids
            text += library.encode(answer, add_special_tokens=False).ids + [library.token_to_id("</s>")]
        expected += [part for token in text for part in ([mark] * count if token == image else [token])]
    assert documents == len(source) and ids == expected
