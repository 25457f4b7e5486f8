"""`minimind data`: what the commands write, checked against Python's own csv, json and repr, and against `tokenizers`."""

import csv
import fcntl
import gzip
import json
import os
import random
import signal
import subprocess

import pytest
from conftest import PATIENCE, REPOSITORY, peak_memory, wait_until
from tokenizers import Tokenizer

SENTENCES = [
    "The cat sat on the mat.", "世界上最高的山是什么？", "珠穆朗玛峰。", "It's 5 o'clock, isn't it?", "naïve café 😀", "a\tb  c",
    "say \"hi\"", "back\\slash", "</s><s>user", "x, y, z"]


def text_of(rng):
    return " ".join(rng.choice(SENTENCES) for _ in range(rng.randint(1, 6)))


@pytest.fixture(scope="module")
def tokenizer(minimind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    rng = random.Random(0)
    (folder / "text.txt").write_text("\n".join(text_of(rng) for _ in range(200)), encoding="utf-8")
    minimind("tokenizer", "train", "--input", folder / "text.txt", "--output", folder / "out", "--vocab-size", 500)
    return folder / "out"


def write_jsonl(path, rows):
    """Every other row with its characters escaped."""
    lines = (json.dumps(row, ensure_ascii=number % 2 == 0) for number, row in enumerate(rows))
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def samples(minimind, directory, count=1000):
    """Every training document as (text, trained) pairs."""
    report = json.loads(minimind("data", "inspect", directory, "--samples", count, "--json").stdout)
    return [[(part["text"], part["trained"]) for part in sample["parts"]] for sample in report["samples"]]


def manifest(directory):
    return json.loads((directory / "manifest.json").read_text())


def prepare(minimind, tokenizer, kind, output, *arguments, check=True):
    return minimind("data", kind, "--tokenizer", tokenizer, "--output", output, *arguments, check=check)


def test_pretraining_data_are_the_texts_that_python_reads(minimind, tokenizer, tmp_path):
    rng = random.Random(1)
    texts = [text_of(rng) for _ in range(100)]
    write_jsonl(tmp_path / "a.jsonl", [{"text": text, "n": 1} for text in texts])
    (tmp_path / "b.json").write_text(json.dumps([{"text": text} for text in texts], indent=1))
    with open(tmp_path / "c.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows([[number, text + "\nsecond line"] for number, text in enumerate(texts)])
    for name, ending in [("a.jsonl", ""), ("b.json", ""), ("c.csv", "\nsecond line")]:
        prepare(minimind, tokenizer, "pretrain", tmp_path / "out", "--input", tmp_path / name, "--held-out", 0)
        assert samples(minimind, tmp_path / "out") == [[("<s>", False), (text + ending + "</s>", True)] for text in texts]


def test_tokens_in_the_shards_are_those_of_tokenizers(minimind, tokenizer, tmp_path):
    rng = random.Random(2)
    texts = [text_of(rng) for _ in range(100)]
    write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    prepare(minimind, tokenizer, "pretrain", tmp_path / "out", "--input", tmp_path / "a.jsonl", "--held-out", 0)
    theirs = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    theirs.encode_special_tokens = True
    expected = [id for text in texts for id in [1, *theirs.encode(text).ids, 2]]
    shard = (tmp_path / "out/train-0.tokens").read_bytes()
    assert shard[:8] == b"MMTOKENS" and int.from_bytes(shard[24:32], "little") == len(texts)
    ids = [int.from_bytes(shard[128 + 2 * i:130 + 2 * i], "little") for i in range(len(expected))]
    assert ids == expected and int.from_bytes(shard[32:40], "little") == len(expected)


def test_histories_that_python_writes_with_repr_are_read_as_python_reads_them(minimind, tokenizer, tmp_path):
    rng = random.Random(3)
    pieces = [*SENTENCES, "'", '"', "\\", "\n", "\r", "\t", "\x07", "\x1f", "\x85", "\u2028", "\u00a0", "\\n", "{'a': [1]}", "]", ","]
    rows = []
    for _ in range(200):
        def text():
            return "".join(rng.choice(pieces) for _ in range(rng.randint(1, 5))) + "."
        history = [[text(), text()] for _ in range(rng.randint(0, 3))]
        rows.append((history, text(), text()))
    with open(tmp_path / "sft.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["history", "q", "a"])
        for history, question, answer in rows:
            spelled = repr(history) if rng.random() < 0.7 else ascii([tuple(pair) for pair in history])
            writer.writerow([spelled, question, answer])
    write_jsonl(tmp_path / "sft.jsonl", [{"q": q, "a": a, "history": h} for h, q, a in rows])
    outputs = []
    for name in ["sft.csv", "sft.jsonl"]:
        prepare(minimind, tokenizer, "sft", tmp_path / name[-3:], "--input", tmp_path / name, "--held-out", 0, "--max-tokens", 100000)
        assert manifest(tmp_path / name[-3:])["rowsBroken"] == 0
        outputs.append((tmp_path / name[-3:] / "train-0.tokens").read_bytes())
    assert outputs[0] == outputs[1]


def test_answers_and_nothing_else_are_trained(minimind, tokenizer, tmp_path):
    rng = random.Random(4)
    chats = []
    for number in range(60):
        messages = [{"role": "system", "content": "Be kind. " + text_of(rng)}] if number % 3 == 0 else []
        for _ in range(rng.randint(1, 4)):
            messages += [{"role": "user", "content": text_of(rng)}, {"role": "assistant", "content": text_of(rng)}]
        chats.append(messages)
    write_jsonl(tmp_path / "a.jsonl", [{"messages": messages} for messages in chats])
    for flags in [], ["--last-turn-only"]:
        prepare(minimind, tokenizer, "sft", tmp_path / "out", "--input", tmp_path / "a.jsonl", "--held-out", 0,
                "--max-tokens", 100000, *flags)
        for messages, parts in zip(chats, samples(minimind, tmp_path / "out"), strict=True):
            text, expected = "", []
            for index, message in enumerate(messages):
                if message["role"] == "system":
                    text += message["content"]
                elif message["role"] == "user":
                    text += f"<s>user\n{message['content']}</s>\n<s>assistant\n"
                elif not flags or index == len(messages) - 1:
                    expected += [(text, False), (message["content"] + "</s>", True)]
                    text = "\n"
                else:
                    text += message["content"] + "</s>\n"
            assert parts == expected


def test_pairs_are_the_same_in_every_shape_and_only_the_answers_are_trained(minimind, tokenizer, tmp_path):
    rng = random.Random(5)
    pairs = [(f"{number} {text_of(rng)}", "a " + text_of(rng), "b " + text_of(rng)) for number in range(60)]

    def messages(role, text):
        return [{"role": role, "content": text}]

    write_jsonl(tmp_path / "strings.jsonl", [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in pairs])
    with open(tmp_path / "table.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("prompt", "chosen", "rejected"), *pairs])
    write_jsonl(tmp_path / "whole.jsonl", [
        {"chosen": messages("user", p) + messages("assistant", c), "rejected": messages("user", p) + messages("assistant", r)}
        for p, c, r in pairs])
    (tmp_path / "factory.json").write_text(json.dumps([
        {"conversations": [{"from": "human", "value": p}], "chosen": {"from": "gpt", "value": c},
         "rejected": {"from": "gpt", "value": r}} for p, c, r in pairs], indent=1))
    expected = []
    for prompt, chosen, rejected in pairs:
        asked = f"<s>user\n{prompt}</s>\n<s>assistant\n"
        expected += [[(asked, False), (answer + "</s>", True)] for answer in (chosen, rejected)]
    for name in ["strings.jsonl", "table.csv", "whole.jsonl", "factory.json"]:
        prepare(minimind, tokenizer, "dpo", tmp_path / "out", "--input", tmp_path / name, "--held-out", 0, "--max-tokens", 100000)
        assert samples(minimind, tmp_path / "out") == expected, name
    shown = minimind("data", "inspect", tmp_path / "out", "--samples", 1).stdout
    assert "60 pairs" in shown and ", chosen, " in shown and ", rejected, " in shown
    refused = prepare(minimind, tokenizer, "dpo", tmp_path / "no", "--input", write_jsonl(tmp_path / "bad.jsonl", [{"q": "a"}]), check=False)
    assert refused.returncode == 1 and 'as line 1: there is no "chosen" but "q"' in refused.stderr
    assert not (tmp_path / "no").exists()


def test_v1_filters_and_single_flags(minimind, tokenizer, tmp_path):
    rows = [{"q": "你好", "a": "嗨"}, {"q": "Hello there, who are you?", "a": "I am a model."},
            {"q": "世界上最高的山是什么山呢", "a": "珠穆朗玛峰啊"}]
    source = write_jsonl(tmp_path / "a.jsonl", rows)

    def kept(*flags):
        prepare(minimind, tokenizer, "sft", tmp_path / "out", "--input", source, *flags)
        return manifest(tmp_path / "out")["rowsKept"]

    assert kept() == 3
    assert kept("--v1-filters") == 1
    assert kept("--v1-filters", "--min-cjk-share", 0) == 1  # the English row has no CJK at all
    assert kept("--v1-filters", "--min-question", 2, "--min-answer", 1) == 2
    assert kept("--max-question", 10) == 1
    refused = prepare(minimind, tokenizer, "sft", tmp_path / "out", "--input", source, "--min-answer", 9, "--max-answer", 8, check=False)
    assert refused.returncode == 2 and "--min-answer is 9, more than --max-answer, which is 8." in refused.stderr
    refused = prepare(minimind, tokenizer, "sft", tmp_path / "none", "--input", source, "--multi-turn-only", check=False)
    assert refused.returncode == 1 and "none of the 3 rows is left: 3 of a single turn (--multi-turn-only)" in refused.stderr
    assert not (tmp_path / "none").exists()


def test_the_result_does_not_depend_on_threads(minimind, tokenizer, tmp_path):
    rng = random.Random(5)
    write_jsonl(tmp_path / "a.jsonl", [{"text": text_of(rng)} for _ in range(20_000)])
    for threads in [1, 2, 5]:
        prepare(minimind, tokenizer, "pretrain", tmp_path / f"out{threads}", "--input", tmp_path / "a.jsonl",
                "--threads", threads, "--deduplicate")
    for file in (tmp_path / "out1").iterdir():
        for threads in [2, 5]:
            assert file.read_bytes() == (tmp_path / f"out{threads}" / file.name).read_bytes()


def test_broken_rows_are_told_counted_and_left_out_or_an_error_when_strict(minimind, tokenizer, tmp_path):
    source = tmp_path / "a.jsonl"
    source.write_text('{"text": "good"}\n{"txt": "no"}\nnot json\n{"text": "better"}\n')
    done = prepare(minimind, tokenizer, "pretrain", tmp_path / "out", "--input", source)
    assert "4 read, 2 kept" in done.stdout and "2 broken rows were left out:" in done.stderr
    assert f'{source}:2: there is no key "text" but "txt". A good row: {{"text": "Once upon a time…"}}' in done.stderr
    strict = prepare(minimind, tokenizer, "pretrain", tmp_path / "strict", "--input", source, "--strict", check=False)
    assert strict.returncode == 1 and strict.stderr.startswith(f"error: {source}:2: ") and strict.stderr.count("\n") == 1
    assert not (tmp_path / "strict").exists()
    learned = minimind("tokenizer", "train", "--input", source, "--output", tmp_path / "tok", "--vocab-size", 260)
    assert "2 broken rows were left out:" in learned.stderr


@pytest.mark.parametrize("content, message", [
    (None, "there is no such file or directory"), (b"", "there is nothing in it"), (b"\xff\xfe\x00", "1 of 1 row cannot be read"),
    (b"\xc3\x28\n", "is not UTF-8, and its beginning does not show what else it is"), (b'{"x": 1}\n', "1 of 1 row cannot be read"), (b"\n \n", "there is no row in it"),
])
def test_unusable_input_is_one_sentence_and_leaves_nothing(minimind, tokenizer, tmp_path, content, message):
    if content is not None:
        (tmp_path / "a.jsonl").write_bytes(content)
    before = sorted(os.listdir(tmp_path))
    failed = prepare(minimind, tokenizer, "pretrain", tmp_path / "out", "--input", tmp_path / "a.jsonl", check=False)
    assert failed.returncode == 1 and message in failed.stderr and failed.stderr.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == before


def test_files_in_other_encodings_and_compressed_are_what_python_wrote(minimind, tokenizer, tmp_path):
    rng = random.Random(8)
    chinese = ["".join(rng.choice("的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制机当使点从业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表间样与关各重新线内数正心反你明看原又么利比或但质气第向道命此变条只没结解问意建月公无系军很情者最立代想已通并提直题党程展五果料象员革位入常文总次品式活设及管特件长求老头基资边流路级少图山统接知较将组见计别她手角期根论运农指几九区强放决西被干做必战先回则任取据处队南给色光门即保治北造百规热领七海口东导器压志世金增争济阶油思术极交受联什认六共权收证改清己美再采转更单风切打白教速花带安场身车例真务具万每目至达走积示议声报斗完类八离华名确才科张信马节话米整空元况今集温传土许步群广石记需段研界拉林律叫且究观越织装影算低持音众书布复容儿须际商非验连断深难近矿千周委素技备半办青省列习响约支般史感劳便团往酸历市克何除消构府称太准精值号率族维划选标写存候毛亲快效斯院查江型眼王按格养易置派层片始却专状育厂京识适属圆包火住调满县局照参红细引听该铁价严")
                       for _ in range(40)) + "。" for _ in range(50)]
    contents = {
        "gb.txt": "\n".join(chinese).encode("gb18030"), "utf16.txt": "\n".join(chinese).encode("utf-16"),
        "rows.jsonl": "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in chinese).encode("gb18030"),
        "rows.jsonl.gz": gzip.compress("".join(json.dumps({"text": text}) + "\n" for text in chinese).encode()),
        "table.tsv": ("id\ttext\n" + "".join(f"{i}\t{text}\n" for i, text in enumerate(chinese))).encode(),
        "lines.txt.gz": gzip.compress("\n".join(chinese).encode("gb18030")),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        done = prepare(minimind, tokenizer, "pretrain", tmp_path / "out", "--input", tmp_path / name, "--held-out", 0)
        assert samples(minimind, tmp_path / "out") == [[("<s>", False), (text + "</s>", True)] for text in chinese], name
        assert any(line.startswith("  encoding") for line in done.stdout.splitlines()) == ("gb" in name or "utf16" in name or name in ["rows.jsonl", "lines.txt.gz"])
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ["gb.txt", "utf16.txt", "rows.jsonl.gz"]:
        (folder / name).write_bytes(contents[name])
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    done = prepare(minimind, tokenizer, "pretrain", tmp_path / "out", "--input", folder, "--held-out", 0)
    assert "150 read, 150 kept" in done.stdout and "README.md (descriptions of data)" in done.stdout
    process = subprocess.run([str(os.environ.get("MINIMIND", REPOSITORY / ".build/release/minimind")), "data", "pretrain", "--input",
                              "/dev/stdin", "--tokenizer", tokenizer, "--output", tmp_path / "piped", "--held-out", "0"],
                             input=contents["rows.jsonl.gz"], capture_output=True)
    assert process.returncode == 0, process.stderr
    assert samples(minimind, tmp_path / "piped") == [[("<s>", False), (text + "</s>", True)] for text in chinese]


def test_what_is_no_file_or_no_utf8_name_is_refused_at_once(binary, tokenizer, tmp_path):
    """None of these may wait: a pipe without a writer would wait for ever."""
    os.mkfifo(tmp_path / "tokenizer.json")
    (tmp_path / "a.txt").write_text("hello\n")
    pointer = tmp_path / "lfs"
    pointer.mkdir()
    (pointer / "tokenizer.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    for arguments, message in [
        (["--tokenizer", tmp_path, "--input", tmp_path / "a.txt"], "it is not a regular file"),
        (["--tokenizer", pointer, "--input", tmp_path / "a.txt"], "git lfs pull"),
        (["--tokenizer", tokenizer, "--input", bytes(tmp_path) + b"/caf\xe9.txt"], "is not UTF-8"),
        (["--tokenizer", tokenizer, "--input", "/dev/zero"], "it is a device"),
        (["--tokenizer", tokenizer, "--input", tmp_path / "a.txt", "--encoding", "klingon"], "does not know it"),
    ]:
        done = subprocess.run([binary, "data", "pretrain", *arguments, "--output", tmp_path / "out"], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode in (1, 2) and message in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_odd_rows_are_read_as_pythons_json_reads_them(minimind, tokenizer, tmp_path):
    """Numbers, escapes and surrogates at random: what Python reads is read, with the same text, and what it does not is broken."""
    rng = random.Random(9)
    pieces = ["\\ud83d", "\\ude00", "\\ud83d\\ude00", "\\u0041", "\\n", "\\\\", "\\\"", "\\u0000", "a", "文", "NaN", "{", "]", ",", "\\/", "'", "\\x", "\t"]
    values = ["1", "-0", "1e999", "-1e999", "NaN", "Infinity", "-Infinity", "12345678901234567890123", "01", "1.", ".5", "+1", "1e5",
              "true", "True", "None", "null", "[1, NaN]", "{\"x\": 1e400}", "\"NaN\"", "'x'", "nul", "1 2", "--1", "0x10", "1_000"]
    lines, expected = [], []
    for number in range(4000):
        text = f"{number}:" + "".join(rng.choice(pieces) for _ in range(rng.randint(0, 6)))
        odd = rng.choice(values) if rng.random() < 0.5 else "7"
        line = f'{{"a": {odd}, "text": "{text}", "b": {rng.choice(["1", odd])}}}'
        lines.append(line)
        try:
            row = json.loads(line)
        except ValueError:
            continue
        # Half characters have no UTF-8; they become U+FFFD.
        expected.append(row["text"].encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    good = [json.dumps({"text": f"good {number}"}) for number in range(4000)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines + good) + "\n")
    prepare(minimind, tokenizer, "pretrain", tmp_path / "out", "--input", tmp_path / "a.jsonl", "--held-out", 0)
    report = manifest(tmp_path / "out")
    assert report["rowsKept"] == len(expected) + 4000 and report["rowsBroken"] == 4000 - len(expected)
    found = ["".join(part for part, _ in parts) for parts in samples(minimind, tmp_path / "out", 1000)]
    kept = {"<s>" + "".join((c if c >= " " or c in "\n\t" else "\ufffd") for c in text) + "</s>" for text in expected}
    assert all(text in kept or text.startswith("<s>good ") for text in found)
    assert report["rowsChanged"]["surrogates-replaced"] > 100


def test_a_directory_with_other_files_is_left_alone(minimind, tokenizer, tmp_path):
    (tmp_path / "a.txt").write_text("hello\n")
    failed = prepare(minimind, tokenizer, "pretrain", tmp_path, "--input", tmp_path / "a.txt", check=False)
    assert failed.returncode == 1 and "holds other files than prepared data" in failed.stderr
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here (needs root)")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_told_and_nothing_partial_is_left(minimind, tokenizer, tmp_path, small_disk):
    (tmp_path / "a.txt").write_text("the cat sat on the mat\n" * 200_000)
    failed = prepare(minimind, tokenizer, "pretrain", small_disk / "out", "--input", tmp_path / "a.txt", check=False)
    assert failed.returncode == 1 and "the disk is full" in failed.stderr and failed.stderr.count("\n") == 1
    assert os.listdir(small_disk) == []


def test_a_read_only_output_is_told(minimind, tokenizer, tmp_path, small_disk):
    (tmp_path / "a.txt").write_text("hello\n")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    failed = prepare(minimind, tokenizer, "pretrain", small_disk / "out", "--input", tmp_path / "a.txt", check=False)
    assert failed.returncode == 1 and "the file system is read-only" in failed.stderr


@pytest.fixture(scope="session")
def binary():
    return str(os.environ.get("MINIMIND", REPOSITORY / ".build/release/minimind"))


def test_ctrl_c_stops_and_leaves_what_was_there_before(minimind, binary, tokenizer, tmp_path):
    (tmp_path / "small.txt").write_text("before\n")
    prepare(minimind, tokenizer, "pretrain", tmp_path / "out", "--input", tmp_path / "small.txt")
    (tmp_path / "large.txt").write_text("".join(f"{i} the cat sat on {i * 7919 % 10007}\n" for i in range(2_000_000)))
    before = sorted(os.listdir(tmp_path)), manifest(tmp_path / "out")
    process = subprocess.Popen(
        [binary, "data", "pretrain", "--input", tmp_path / "large.txt", "--tokenizer", tokenizer, "--output", tmp_path / "out"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: any(".partial-" in name for name in os.listdir(tmp_path)), "nothing is written", process)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=PATIENCE)[1]
    assert process.returncode == 130 and errors == "interrupted.\n"
    assert (sorted(os.listdir(tmp_path)), manifest(tmp_path / "out")) == before


def test_the_next_run_removes_what_a_killed_one_left_and_nothing_else(minimind, binary, tokenizer, tmp_path):
    (tmp_path / "large.txt").write_text("".join(f"{i} the cat sat on {i * 7919 % 10007}\n" for i in range(2_000_000)))
    process = subprocess.Popen(
        [binary, "data", "pretrain", "--input", tmp_path / "large.txt", "--tokenizer", tokenizer, "--output", tmp_path / "out"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    left = tmp_path / f"out.partial-{process.pid}-0"
    wait_until(lambda: any(left.glob("*")), "nothing is written", process)
    process.kill()
    process.wait()
    assert left.is_dir()
    # A process that lives, one that is gone but whose directory is held, no number, a file, and another output's.
    gone = subprocess.Popen(["true"])
    gone.wait()
    kept = [tmp_path / f"out.partial-{os.getpid()}-0", tmp_path / f"out.partial-{gone.pid}-0",
            tmp_path / "out.partial-removed", tmp_path / f"out2.partial-{process.pid}-0"]
    for directory in kept:
        directory.mkdir()
    held = os.open(kept[1], os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    (tmp_path / "small.txt").write_text("before\n")
    prepare(minimind, tokenizer, "pretrain", tmp_path / "out", "--input", tmp_path / "small.txt")
    assert not left.exists() and all(directory.is_dir() for directory in kept)
    os.close(held)
    prepare(minimind, tokenizer, "pretrain", tmp_path / "out", "--input", tmp_path / "small.txt")
    assert [directory.is_dir() for directory in kept] == [True, False, True, True]


def test_memory_stays_far_below_the_size_of_the_input(binary, tokenizer, tmp_path):
    rng = random.Random(6)
    with open(tmp_path / "a.jsonl", "w", encoding="utf-8") as file:
        while file.tell() < 160 << 20:
            file.write("".join(json.dumps({"text": f"{text_of(rng)} {rng.random()}" * 20}) + "\n" for _ in range(500)))
    process = subprocess.Popen(
        [binary, "data", "pretrain", "--input", file.name, "--tokenizer", tokenizer, "--output", tmp_path / "out", "--threads", "2"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert 0 < peak_memory(process) < 100 << 20
