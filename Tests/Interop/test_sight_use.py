"""A model that sees, from scenes to answers: data, a few steps of training, `eval pictures`, `chat`, and the server's APIs."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import Server


@pytest.fixture(scope="module")
def scenes(minimind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "out"
    minimind("data", "scenes", "--count", 60, "--held-out-count", 16, "--output", folder)
    return folder


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def captions(minimind, scenes, tmp_path_factory):
    """Texts with pictures, and a tokenizer with a placeholder."""
    folder = tmp_path_factory.mktemp("data")
    text = folder / "text.txt"
    text.write_text("".join(
        message["content"] + "\n" for row in rows(scenes / "train.jsonl") for message in row["conversations"]), encoding="utf-8")
    minimind("tokenizer", "train", "--input", text, "--template", "minimind-3", "--vocab-size", 600, "--output", folder / "tokenizer")
    minimind("data", "pretrain", "--input", scenes / "captions.jsonl", "--tokenizer", folder / "tokenizer", "--picture-size", 64,
             "--picture-tokens", 16, "--output", folder / "captions")
    return folder


@pytest.fixture(scope="module")
def seeing(minimind, captions, scenes):
    """Four steps from nothing, then four of questions, prepared as the model sees."""
    minimind("pretrain", "--model", "tiny", "--tower", "new", "--data", captions / "captions", "--steps", 4,
             "--sequence-length", 256, "--batch-tokens", 512, "--output", captions / "run")
    minimind("data", "sft", "--input", scenes / "train.jsonl", "--tokenizer", captions / "tokenizer", "--sight", captions / "run",
             "--output", captions / "questions")
    minimind("sft", "--from", captions / "run", "--data", captions / "questions", "--steps", 4, "--sequence-length", 256,
             "--batch-tokens", 512, "--output", captions / "chat")
    return captions / "chat"


def test_questions_about_held_out_scenes_are_scored_by_kind(minimind, seeing, scenes, tmp_path):
    result = json.loads(minimind(
        "eval", "pictures", "--model", seeing, "--data", scenes / "held-out.jsonl", "--answers", tmp_path / "answers.jsonl",
        "--json").stdout)
    asked = rows(scenes / "held-out.jsonl")
    assert {name: part["total"] for name, part in result["kinds"].items()} == {
        kind: sum(row["task"] == kind for row in asked) for kind in ("colour", "shape", "count", "position", "relation")}
    assert result["kinds"]["relation"]["chance"] == 0.5 and result["total"] == len(asked)
    answers = rows(tmp_path / "answers.jsonl")
    assert len(answers) == len(asked) and sum(answer["right"] for answer in answers) == result["correct"]
    for broken, part in (({"image": "../secret.png"}, "is not below"), ({"image": "none.png"}, "cannot be opened"), ({"image": ""}, "no \"image\"")):
        (scenes / "broken.jsonl").write_text(json.dumps(asked[0] | broken) + "\n")
        completed = minimind("eval", "pictures", "--model", seeing, "--data", scenes / "broken.jsonl", check=False)
        assert completed.returncode != 0 and "broken.jsonl:1" in completed.stderr and part in completed.stderr


def url(image):
    return "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()


def ask(server, image, **fields):
    """The text of an answer, and the log-probabilities of its tokens."""
    status, reply = server.post("/v1/chat/completions", temperature=0, repetition_penalty=1, max_tokens=12, logprobs=True, messages=[
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url(image)}}, {"type": "text", "text": "What is it?"}]}],
        **fields)
    assert status == 200, reply
    choice = reply["choices"][0]
    return choice["message"]["content"], [token["logprob"] for token in choice["logprobs"]["content"]]


def test_answers_are_the_same_alone_among_others_and_in_chat(minimind, binary, seeing, scenes):
    images = [scenes / f"images/held-out-{number:06}.png" for number in (1, 2, 3)]
    with Server(binary, seeing, "--type", "fp32", "--parallel", 1) as server:
        alone = [ask(server, image, ignore_eos=True) for image in images]
        short = ask(server, images[0])[0]
    assert all(len(numbers) == 12 for _, numbers in alone)
    assert len({str(numbers) for _, numbers in alone}) == len(images), "pictures change nothing"
    chat = minimind("chat", "--model", seeing, "--temperature", 0, "--repetition-penalty", 1, "--max-tokens", 12, "--type", "fp32",
                    input=f"/image {images[0]}\nWhat is it?\n").stdout
    assert chat.rstrip("\n") == short.rstrip("\n")

    with Server(binary, seeing, "--type", "fp32") as server:
        with ThreadPoolExecutor(6) as pool:
            # At once, and again with what the cache has kept.
            for _ in range(2):
                found = list(pool.map(lambda image: ask(server, image, ignore_eos=True), images * 2))
                for (text, numbers), (expected, others) in zip(found, alone * 2):
                    assert text == expected
                    assert numbers == pytest.approx(others, abs=1e-3)
        metrics = server.request("GET", "/metrics")[2].decode()
        assert f"minimind_pictures_encoded_total {len(images)}\n" in metrics
        model = json.loads(server.request("GET", "/v1/models")[2])["data"][0]
        assert model["vision"] is True
        status, reply = server.post("/v1/chat/completions", messages=[
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/a.png"}}]}])
        assert status == 400 and "fetches none" in reply["error"]["message"]
        status, reply = server.post("/v1/messages", max_tokens=12, temperature=0, messages=[{"role": "user", "content": [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": url(images[0]).split(",")[1]}},
            {"type": "text", "text": "What is it?"}]}])
        assert status == 200 and reply["type"] == "message", reply


def test_a_model_of_text_refuses_pictures(minimind, captions, scenes, tmp_path):
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": f"the red circle {number}"}) + "\n" for number in range(50)))
    minimind("data", "pretrain", "--input", tmp_path / "text.jsonl", "--tokenizer", captions / "tokenizer", "--output", tmp_path / "data")
    minimind("pretrain", "--model", "tiny", "--data", tmp_path / "data", "--steps", 1, "--sequence-length", 128, "--batch-tokens", 128,
             "--output", tmp_path / "text")
    for arguments in (
            ("eval", "pictures", "--model", tmp_path / "text", "--data", scenes / "held-out.jsonl"),
            ("data", "sft", "--input", scenes / "train.jsonl", "--tokenizer", captions / "tokenizer", "--sight", tmp_path / "text",
             "--output", tmp_path / "out"),
            ("pretrain", "--from", tmp_path / "text", "--data", captions / "captions", "--steps", 1, "--output", tmp_path / "run"),
            ("pretrain", "--model", "tiny", "--data", captions / "captions", "--steps", 1, "--output", tmp_path / "run")):
        completed = minimind(*arguments, check=False)
        assert completed.returncode != 0 and "no vision tower" in completed.stderr, (arguments, completed.stderr)
    chat = minimind("chat", "--model", tmp_path / "text", input=f"/image {scenes}/images/train-000001.png\n", check=False)
    assert chat.returncode != 0 and "reads text only" in chat.stderr
    perplexity = minimind("eval", "perplexity", "--model", tmp_path / "text", "--data", captions / "captions", check=False)
    assert perplexity.returncode != 0 and "eval pictures" in perplexity.stderr
