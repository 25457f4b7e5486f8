"""`minimind eval ceval` against a twin in PyTorch, question by question; by-position losses against transformers.

The light tests look at files, options and errors. The questions here are our own; C-Eval's are read from the golden data
where they are there.
"""

import csv
import json
import math
import random
import xml.etree.ElementTree as ElementTree

import pytest
from random_model import make_model

LETTERS = ["A", "B", "C", "D"]


def write_subject(path, questions, columns=("id", "question", *LETTERS, "answer")):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([index, *question] for index, question in enumerate(questions))


def sums(seed, count):
    """Questions with four numbers to choose from."""
    generator = random.Random(seed)
    for _ in range(count):
        a, b = generator.randrange(100), generator.randrange(100)
        choices = [a + b, a + b + 1, a * b, "太大，\"算不出\""]
        order = generator.sample(range(4), 4)
        yield [f"{a} 加 {b}" + " 再加零" * generator.randrange(9) + " 是多少？\n想一想", *(choices[index] for index in order),
               LETTERS[order.index(0)]]


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions")
    for seed, subject in enumerate(["sums", "more_sums", "few"]):
        write_subject(folder / f"val/{subject}_val.csv", sums(seed, 3 if subject == "few" else 40))
        write_subject(folder / f"dev/{subject}_dev.csv", sums(100 + seed, 4))
        write_subject(folder / f"test/{subject}.csv", sums(seed, 5), ["", "Question", *LETTERS, "Answer"])
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, minimind):
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "text.txt").write_text("\n".join(str(row) for row in sums(7, 50)) * 3, encoding="utf-8")
    minimind("tokenizer", "train", "--input", folder / "text.txt", "--output", folder / "tokenizer", "--vocab-size", 400)
    return folder / "tokenizer"


@pytest.fixture(scope="module")
def model(tmp_path_factory, tokenizer):
    return make_model(tmp_path_factory.mktemp("model") / "model", tokenizer, scale=0.3)


def test_the_tables_agree_with_each_other(minimind, model, questions, tmp_path):
    run = minimind("eval", "ceval", "--model", model, "--data", questions, "--output", tmp_path / "table.csv",
                   "--answers", tmp_path / "answers.csv", "--json")
    report = json.loads(run.stdout)
    answers = list(csv.DictReader((tmp_path / "answers.csv").open(encoding="utf-8")))
    assert report["total"] == len(answers) == 83 and report["chance"] == 0.25
    correct = [row["answer"] == row["chosen"] for row in answers]
    assert report["correct"] == sum(correct) and report["accuracy"] == sum(correct) / 83
    assert math.isclose(report["standard_error"], math.sqrt(report["accuracy"] * (1 - report["accuracy"]) / 82))
    table = list(csv.DictReader((tmp_path / "table.csv").open(encoding="utf-8")))
    assert [row["subject"] for row in table] == ["few", "more_sums", "sums", "total"]
    for row in table[:-1]:
        assert report["subjects"][row["subject"]]["correct"] == int(row["correct"])
        assert int(row["correct"]) == sum(a["answer"] == a["chosen"] for a in answers if a["subject"] == row["subject"])
    assert sum(report["chosen_answers"].values()) == sum(report["right_answers"].values()) == 83
    assert "total" in minimind("eval", "ceval", "--model", model, "--data", questions, "--subjects", "few").stdout
    cmmlu = json.loads(minimind("eval", "ceval", "--model", model, "--data", questions, "--split", "test", "--json").stdout)
    assert cmmlu["total"] == 15


def test_what_is_wrong_is_told_and_nothing_is_left_behind(minimind, model, questions, tmp_path):
    def refusal(code, *arguments):
        run = minimind("eval", "ceval", "--model", model, *arguments, check=False)
        assert (run.returncode, run.stdout) == (code, "")
        return run.stderr

    write_subject(tmp_path / "data/val/x_val.csv", [["q", "1", "2", "3", "4", "A"], ["q", "1", "2", "3", "4", "F"]])
    assert f"{tmp_path}/data/val/x_val.csv:3: the answer is \"F\"" in refusal(1, "--data", tmp_path / "data")
    assert "no directory \"val\"" in refusal(1, "--data", tmp_path)
    assert "no subject \"nothing\"" in refusal(1, "--data", questions, "--subjects", "nothing")
    assert "dev" in refusal(1, "--data", tmp_path / "data", "--shots", 5, "--subjects", "x")
    assert "cannot create" in refusal(1, "--data", questions, "--output", tmp_path / "nowhere/table.csv")
    refusal(2, "--data", questions, "--shots", "many")
    refusal(2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_losses_by_position(minimind, model, tmp_path):
    (tmp_path / "long.txt").write_text("\n".join(str(row) for row in sums(3, 150)), encoding="utf-8")
    (tmp_path / "short.txt").write_text("short", encoding="utf-8")
    arguments = ["eval", "perplexity", "--by-position", "--model", model, "--sequence-length", 1024]
    report = json.loads(minimind(*arguments, "--input", tmp_path / "long.txt", tmp_path / "short.txt", "--whole-files", "--plot",
                                 tmp_path / "plot.svg", "--json").stdout)
    assert (report["documents"], report["documents_too_short"], report["trained_length"]) == (1, 1, 512)
    assert report["windows"] > 1 and report["rope_factor"] == 4
    assert [bucket["from"] for bucket in report["buckets"]] == list(range(0, 1024, 64))
    assert all(set(bucket["loss"]) == {"none", "linear", "dynamic", "yarn"} for bucket in report["buckets"])
    svg = ElementTree.parse(tmp_path / "plot.svg")
    assert len(svg.findall("{http://www.w3.org/2000/svg}polyline")) == 4
    assert "positions" in minimind(*arguments, "--input", tmp_path / "long.txt", "--whole-files").stdout
    for wrong, code in (
            (["--input", tmp_path / "long.txt"], 1), (["--data", tmp_path], 2),
            (["--input", tmp_path / "long.txt", "--rope", "yarn"], 2)):
        run = minimind(*arguments, *wrong, check=False)
        assert run.returncode == code and run.stdout == "" and run.stderr.startswith("error: ")
    assert minimind("eval", "perplexity", "--model", model, "--input", tmp_path / "long.txt", "--plot", "x.svg",
                    check=False).returncode == 2
    assert minimind("eval", "perplexity", "--model", model, "--input", tmp_path / "long.txt", "--rope-factor", 2,
                    check=False).returncode == 2


# What follows needs PyTorch and transformers.


def twin(directory, folder, split, shots, context, subjects=None):
    """The four logits of every question, each by itself, as the specification says: a row of prompt tokens, examples, logits."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(directory, local_files_only=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, local_files_only=True).eval()
    letters = [tokenizer(letter)["input_ids"] for letter in LETTERS]
    assert all(len(ids) == 1 for ids in letters)

    def read(path):
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def user(row):
        choices = ", ".join(f"{letter}: {row[letter]}" for letter in LETTERS)
        return {"role": "user", "content": f"{row['question']}。选择 {choices}"}

    def encoded(turns):
        messages = [{"role": "system", "content": "开始回答问题"}, *turns]
        return tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)

    results = []
    for path in sorted((folder / split).glob("*.csv")):
        name = path.stem.removesuffix("_" + split)
        if subjects and name not in subjects:
            continue
        examples = [[user(row), {"role": "assistant", "content": row["answer"]}]
                    for row in read(folder / f"dev/{name}_dev.csv")[:shots]] if shots else []
        for row in read(path):
            shown = list(examples)
            while shown and len(encoded([turn for pair in shown for turn in pair] + [user(row)])) > context:
                shown.pop(0)
            ids = encoded([turn for pair in shown for turn in pair] + [user(row)])
            with torch.no_grad():
                logits = model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1]
            results.append((name, row["answer"], len(ids), len(shown), [logits[token[0]].item() for token in letters]))
    return results


def assert_same_answers(minimind, directory, folder, tmp_path, shots, context, subjects=None):
    report = json.loads(minimind(
        "eval", "ceval", "--model", directory, "--data", folder, "--shots", shots, "--context", context, "--precision", "fp32",
        "--answers", tmp_path / "answers.csv", "--json", *(["--subjects", *subjects] if subjects else [])).stdout)
    ours = list(csv.DictReader((tmp_path / "answers.csv").open(encoding="utf-8")))
    theirs = twin(directory, folder, "val", shots, context, subjects)
    assert len(ours) == len(theirs) == report["total"]
    correct = 0
    for row, (name, answer, tokens, examples, logits) in zip(ours, theirs):
        assert (row["subject"], row["answer"], int(row["prompt_tokens"]), int(row["examples"])) == (name, answer, tokens, examples)
        tolerance = 1e-4 * max(map(abs, logits))
        assert all(abs(float(row[letter]) - logit) < tolerance for letter, logit in zip(LETTERS, logits))
        best, second = sorted(logits)[:-3:-1]
        # Two letters nearer to each other than the arithmetic is exact may change places.
        assert row["chosen"] == LETTERS[logits.index(best)] or best - second < 2 * tolerance
        correct += LETTERS[logits.index(best)] == answer
    assert abs(report["correct"] - correct) <= sum(sorted(logits)[-1] - sorted(logits)[-2] < 1e-3 for *_, logits in theirs)
    return theirs


@pytest.mark.heavy
@pytest.mark.parametrize("shots, context", [(0, 512), (4, 4096), (4, 300)])
def test_every_answer_is_that_of_a_twin_in_pytorch(minimind, model, questions, tmp_path, shots, context):
    theirs = assert_same_answers(minimind, model, questions, tmp_path, shots, context)
    assert len({max(logits) for *_, logits in theirs}) > 40
    shown = {examples for _, _, _, examples, _ in theirs}
    assert shown == {shots} if context != 300 else len(shown) > 1 and max(shown) < 4


@pytest.mark.heavy
def test_every_answer_to_cevals_questions_is_that_of_a_twin_in_pytorch(minimind, model, shared, tmp_path):
    if not (shared / "ceval").is_dir():
        pytest.skip(f"no C-Eval in {shared}")
    assert_same_answers(minimind, model, shared / "ceval", tmp_path, 5, 2048, ["high_school_history", "computer_network"])


@pytest.mark.heavy
def test_losses_by_position_are_those_of_transformers(minimind, model, tmp_path):
    import torch
    import transformers

    length, factor = 1024, 2.0
    (tmp_path / "long.txt").write_text("\n".join(str(row) for row in sums(3, 150)), encoding="utf-8")
    report = json.loads(minimind(
        "eval", "perplexity", "--by-position", "--model", model, "--input", tmp_path / "long.txt", "--whole-files", "--rope-factor",
        factor, "--precision", "fp32", "--json").stdout)
    assert report["sequence_length"] == length
    tokenizer = transformers.AutoTokenizer.from_pretrained(model, local_files_only=True)
    text = (tmp_path / "long.txt").read_text(encoding="utf-8")
    ids = [tokenizer.bos_token_id, *tokenizer(text)["input_ids"], tokenizer.eos_token_id]
    windows = [ids[start:start + length + 1] for start in range(0, len(ids) - length, length)]
    assert len(windows) == report["windows"]
    for mode in ("none", "linear", "dynamic", "yarn"):
        config = transformers.AutoConfig.from_pretrained(model, local_files_only=True)
        if mode != "none":
            config.rope_parameters |= {"rope_type": mode, "factor": factor}
            config.standardize_rope_params()
        twin_model = transformers.AutoModelForCausalLM.from_pretrained(model, config=config, dtype=torch.float32, local_files_only=True)
        losses = torch.zeros(length)
        for window in windows:
            with torch.no_grad():
                logits = twin_model(torch.tensor([window[:-1]])).logits[0]
            losses += torch.nn.functional.cross_entropy(logits, torch.tensor(window[1:]), reduction="none") / len(windows)
        for bucket in report["buckets"]:
            expected = losses[bucket["from"]:bucket["to"]].mean().item()
            assert math.isclose(bucket["loss"][mode], expected, rel_tol=1e-4), (mode, bucket)
