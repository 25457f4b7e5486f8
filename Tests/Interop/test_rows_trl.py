"""Rows as `datasets` writes and `trl` reads them: columns that a join fills with null, and the prompt of preference pairs."""

import json
import os
import random

import pytest
from test_data import SENTENCES, manifest, prepare, samples, text_of, tokenizer  # noqa: F401

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import datasets  # noqa: E402
import pandas  # noqa: E402
import trl  # noqa: E402

datasets.disable_progress_bars()


def message(role, content):
    return {"role": role, "content": content}


def rendered(messages):
    """By MiniMind's template, up to where the answer begins."""
    text = ""
    for turn in messages:
        text += turn["content"] if turn["role"] == "system" else f"<s>{turn['role']}\n{turn['content']}</s>\n"
    return text + "<s>assistant\n"


def test_joined_data_sets_with_null_columns(minimind, tokenizer, tmp_path):
    generator = random.Random(1)
    questions = [(text_of(generator), text_of(generator)) for _ in range(20)]
    chats = [[message("user", text_of(generator)), message("assistant", text_of(generator))] for _ in range(20)]
    joined = datasets.concatenate_datasets([
        datasets.Dataset.from_list([{"question": q, "answer": a} for q, a in questions]),
        datasets.Dataset.from_list([{"messages": chat, "source": "chats"} for chat in chats])])
    joined.to_json(tmp_path / "joined.jsonl", force_ascii=False)
    assert '"messages":null' in (tmp_path / "joined.jsonl").read_text(encoding="utf-8")
    prepare(minimind, tokenizer, "sft", tmp_path / "out", "--input", tmp_path / "joined.jsonl", "--held-out", 0)
    turns = [[message("user", q), message("assistant", a)] for q, a in questions] + chats
    assert samples(minimind, tmp_path / "out") == [
        [(rendered(turn[:1]), False), (turn[1]["content"] + "</s>", True)] for turn in turns]
    assert manifest(tmp_path / "out")["rowsBroken"] == 0


def test_tables_whose_cells_hold_messages(minimind, tokenizer, tmp_path):
    generator = random.Random(2)
    chats = [[message("user", text_of(generator)), message("assistant", text_of(generator))] for _ in range(20)]
    rows = [{"messages": json.dumps(chat, ensure_ascii=number % 2 == 0)} for number, chat in enumerate(chats)]
    datasets.Dataset.from_list(rows).to_csv(tmp_path / "json.csv")
    # pandas writes a column of lists with Python's repr.
    pandas.DataFrame({"messages": chats}).to_csv(tmp_path / "python.csv")
    for name in ("json.csv", "python.csv"):
        prepare(minimind, tokenizer, "sft", tmp_path / "out", "--input", tmp_path / name, "--held-out", 0)
        assert samples(minimind, tmp_path / "out") == [
            [(rendered(chat[:1]), False), (chat[1]["content"] + "</s>", True)] for chat in chats], name
    # A data set's column of lists is written as numpy prints an array, without commas, which nothing can read.
    datasets.Dataset.from_list([{"messages": chat} for chat in chats]).to_csv(tmp_path / "numpy.csv")
    refused = prepare(minimind, tokenizer, "sft", tmp_path / "no", "--input", tmp_path / "numpy.csv", check=False)
    assert refused.returncode == 1 and '"messages": a comma or a closing bracket is missing' in refused.stderr


def preference_rows(generator):
    """Rows in each of the layouts of trl's documentation, with systems and earlier turns."""
    for number in range(60):
        earlier = [message("system", "Be kind.")] if number % 3 == 0 else []
        for _ in range(generator.randint(0, 2)):
            earlier += [message("user", text_of(generator)), message("assistant", text_of(generator))]
        prompt = [*earlier, message("user", f"{number} {text_of(generator)}")]
        chosen = [message("assistant", "yes " + generator.choice(SENTENCES))]
        rejected = [message("assistant", "no " + generator.choice(SENTENCES))]
        yield [{"prompt": prompt, "chosen": chosen, "rejected": rejected},
               {"chosen": prompt + chosen, "rejected": prompt + rejected},
               {"prompt": prompt[-1]["content"], "chosen": prompt + chosen, "rejected": prompt + rejected}][number % 3 if number % 2 else 1]


def test_the_prompt_of_a_pair_is_trls(minimind, tokenizer, tmp_path):
    rows = list(preference_rows(random.Random(3)))
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prepare(minimind, tokenizer, "dpo", tmp_path / "out", "--input", tmp_path / "pairs.jsonl", "--held-out", 0,
            "--max-tokens", 100000)
    expected = []
    for row in rows:
        # trl takes the common beginning only of rows without a prompt; a prompt as text beside whole lists repeats a part of it.
        whole = {key: row[key] for key in ("chosen", "rejected")} if len(row["chosen"]) > 1 else row
        pair = trl.data_utils.maybe_extract_prompt(whole)
        for side in ("chosen", "rejected"):
            [answer] = pair[side]
            expected.append([(rendered(pair["prompt"]), False), (answer["content"] + "</s>", True)])
    found = samples(minimind, tmp_path / "out")
    assert [join(sample) for sample in found] == [join(sample) for sample in expected]


def join(parts):
    """Neighbours that are both trained or both not, as one."""
    result = []
    for text, trained in parts:
        if result and result[-1][1] == trained:
            text = result.pop()[0] + text
        result.append((text, trained))
    return result


def test_prompt_and_completion_of_trl(minimind, tokenizer, tmp_path):
    generator = random.Random(4)
    rows = [{"prompt": [message("system", "Be kind."), message("user", text_of(generator))],
             "completion": [message("assistant", text_of(generator))]} for _ in range(20)]
    datasets.Dataset.from_list(rows).to_json(tmp_path / "rows.jsonl", force_ascii=False)
    prepare(minimind, tokenizer, "sft", tmp_path / "out", "--input", tmp_path / "rows.jsonl", "--held-out", 0)
    assert samples(minimind, tmp_path / "out") == [
        [(rendered(row["prompt"]), False), (row["completion"][0]["content"] + "</s>", True)] for row in rows]
