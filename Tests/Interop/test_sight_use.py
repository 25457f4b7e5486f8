"""A model that sees, from scenes to answers: data, a few steps of training, `eval pictures`, `chat`, and the server's APIs."""

import base64
import json
import threading
import xml.etree.ElementTree
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

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
        "--sheet", tmp_path / "sheet.svg", "--json").stdout)
    asked = rows(scenes / "held-out.jsonl")
    assert {name: part["total"] for name, part in result["kinds"].items()} == {
        kind: sum(row["task"] == kind for row in asked) for kind in ("colour", "shape", "count", "position", "relation")}
    assert result["kinds"]["relation"]["chance"] == 0.5 and result["total"] == len(asked)
    answers = rows(tmp_path / "answers.jsonl")
    assert len(answers) == len(asked) and sum(answer["right"] for answer in answers) == result["correct"]
    # Four questions of each kind, from the first on, with the files of their pictures.
    sheet = xml.etree.ElementTree.parse(tmp_path / "sheet.svg")
    pictures = [element.get("href") for element in sheet.iter("{http://www.w3.org/2000/svg}image")]
    assert len(pictures) == 20 and pictures[0] == "data:image/png;base64," + base64.b64encode(
        (scenes / asked[0]["image"]).read_bytes()).decode()
    texts = [element.text for element in sheet.iter("{http://www.w3.org/2000/svg}text")]
    question = asked[0]["messages"][0]["content"].removeprefix("<image>\n")
    assert question.startswith(texts[1]) and texts[0] == f"Questions of {scenes}/held-out.jsonl"
    marks = "".join(text[0] for text in texts if text[0] in "✓✗")
    assert len(marks) == 20 and marks[0] == "✗✓"[answers[0]["right"]]
    for broken, part in (({"image": "../secret.png"}, "is not below"), ({"image": "none.png"}, "cannot be opened"), ({"image": ""}, "no \"image\"")):
        (scenes / "broken.jsonl").write_text(json.dumps(asked[0] | broken) + "\n")
        completed = minimind("eval", "pictures", "--model", seeing, "--data", scenes / "broken.jsonl", check=False)
        assert completed.returncode != 0 and "broken.jsonl:1" in completed.stderr and part in completed.stderr


def preferences(scenes, folder):
    """Pairs of answers about pictures, as trl has them, of which the other one's is rejected."""
    questions = rows(scenes / "train.jsonl")[:120]
    pairs = []
    for row, other in zip(questions, questions[1:] + questions[:1]):
        question, answer = (message["content"] for message in row["conversations"][-2:])
        if answer != other["conversations"][-1]["content"]:
            pairs.append({
                "images": [row["image"]], "prompt": [{"role": "user", "content": [
                    {"type": "image"}, {"type": "text", "text": question.replace("<image>", "").strip()}]}],
                "chosen": [{"role": "assistant", "content": [{"type": "text", "text": answer}]}],
                "rejected": [{"role": "assistant", "content": [
                    {"type": "text", "text": other["conversations"][-1]["content"]}]}]})
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs), encoding="utf-8")
    return folder / "pairs.jsonl", len(pairs)


def test_adapters_and_preferences_of_a_model_that_sees(minimind, binary, captions, seeing, scenes, tmp_path):
    sizes = ("--steps", 4, "--sequence-length", 256, "--batch-tokens", 512, "--micro-batch-tokens", 512)
    minimind("lora", "--from", seeing, "--data", captions / "questions", *sizes, "--learning-rate", 0.02, "--output", tmp_path / "lora")
    image = scenes / "images/held-out-000001.png"
    def chat(model):
        return minimind("chat", "--model", model, "--temperature", 0, "--max-tokens", 12, "--type", "fp32",
                        input=f"/image {image}\nWhat is it?\n").stdout
    minimind("merge", "--adapter", tmp_path / "lora", "--to", tmp_path / "merged")
    assert chat(tmp_path / "lora") == chat(tmp_path / "merged")
    with Server(binary, tmp_path / "lora", "--type", "fp32") as server:
        adapted = ask(server, image, ignore_eos=True)[1]
    with Server(binary, seeing, "--type", "fp32") as server:
        assert ask(server, image, ignore_eos=True)[1] != adapted
    parts = minimind("info", tmp_path / "lora").stdout
    assert "projector" in parts and "vision tower" in parts

    pairs, count = preferences(scenes, scenes)
    minimind("data", "dpo", "--input", pairs, "--tokenizer", captions / "tokenizer", "--sight", seeing, "--output", tmp_path / "pairs")
    manifest = json.loads((tmp_path / "pairs/manifest.json").read_text())
    assert manifest["rowsKept"] == count and not manifest.get("unusedFields") and manifest["pictures"]["count"] > 20
    for name, options in (("dpo", ()), ("adapter", ("--lora-rank", 4)), ("simpo", ("--loss", "simpo", "--train", "projector"))):
        minimind("dpo", "--from", seeing, "--data", tmp_path / "pairs", *sizes, *options, "--output", tmp_path / name)
    minimind("data", "kto", "--input", pairs, "--tokenizer", captions / "tokenizer", "--sight", seeing, "--output", tmp_path / "judged")
    minimind("kto", "--from", seeing, "--data", tmp_path / "judged", *sizes, "--output", tmp_path / "kto")
    blind = minimind("data", "dpo", "--input", pairs, "--tokenizer", captions / "tokenizer", "--output", tmp_path / "text", check=False)
    assert blind.returncode == 1 and 'part of type "image"' in blind.stderr
    for command, part in (
            (("reward", "--from", seeing, "--data", tmp_path / "pairs"), "lora, dpo or kto"),
            (("lora", "--from", seeing, "--data", tmp_path / "pairs"), "was prepared for dpo"),
            (("dpo", "--from", seeing, "--data", tmp_path / "pairs", "--lora-rank", 4, "--train", "everything"), "in place of all")):
        refused = minimind(*command, "--steps", 1, "--output", tmp_path / "none", check=False)
        assert refused.returncode == 1 and part in refused.stderr, refused.stderr


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


def test_addresses_of_this_machine_are_never_asked(minimind, binary, seeing, captions):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    def refusal(server, address):
        status, reply = server.post("/v1/chat/completions", messages=[
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": address}}]}])
        assert status == 400 and reply["error"]["param"] == "messages[0].content", reply
        return reply["error"]

    with HTTPServer(("127.0.0.1", 0), Handler) as local:
        threading.Thread(target=local.serve_forever, daemon=True).start()
        port = local.server_address[1]
        with Server(binary, seeing, "--fetch-images") as server:
            for host in ("127.0.0.1", "localhost", "[::1]", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1"):
                error = refusal(server, f"http://{host}/a.png")
                assert error["code"] == "invalid_image_url" and "is not public" in error["message"], (host, error)
            assert "from 80 and 443 only" in refusal(server, f"http://127.0.0.1:{port}/a.png")["message"]
            assert "a user or a password" in refusal(server, "https://me:secret@example.org/a.png")["message"]
            assert refusal(server, "file:///etc/passwd")["code"] == "unsupported_parameter"
            status, reply = server.post("/v1/messages", max_tokens=3, messages=[{"role": "user", "content": [
                {"type": "image", "source": {"type": "url", "url": "http://127.0.0.1/a.png"}}]}])
            assert status == 400 and "is not public" in reply["error"]["message"], reply
            status, reply = server.post("/v1/responses", input=[{"role": "user", "content": [
                {"type": "input_image", "image_url": "http://127.0.0.1/a.png"}]}])
            assert status == 400 and reply["error"]["param"] == "input[0].content", reply
        with Server(binary, seeing) as server:
            assert "fetches none" in refusal(server, f"http://127.0.0.1:{port}/a.png")["message"]
        local.shutdown()
    assert asked == []


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
    serve = minimind("serve", "--model", tmp_path / "text", "--port", 0, "--fetch-images", check=False)
    assert serve.returncode != 0 and "no vision tower" in serve.stderr
