"""`minimind runs` and `minimind watch`: what they tell of runs, in text and in a browser."""

import json
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest
from browser import Browser, BrowserPage, check_texts


@pytest.fixture(scope="module")
def runs(minimind, tokenizer_directory, tmp_path_factory):
    """Two finished runs, the second with another learning rate, and one made up, of a mixture with preferences."""
    folder = tmp_path_factory.mktemp("runs")
    text = folder / "text.txt"
    text.write_text("".join(f"Document {n} says that {n} and {n + 1} make {2 * n + 1}.\n" for n in range(400)))
    minimind("data", "pretrain", "--input", text, "--tokenizer", tokenizer_directory, "--output", folder / "data")
    for name, rate in (("first", 0.001), ("second", 0.01)):
        result = minimind(
            "pretrain", "--model", "tiny", "--data", folder / "data", "--output", folder / name, "--steps", 12,
            "--batch-tokens", 256, "--micro-batch-tokens", 256, "--sequence-length", 64, "--eval-interval", 4,
            "--learning-rate", rate, "--sample-prompt", "Document", "--threads", 1)
        (folder / f"{name}.out").write_text(result.stdout)
    return folder


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_runs_are_listed_and_compared(minimind, runs):
    table = minimind("runs", "list", runs).stdout
    for name in ("first", "second"):
        losses = [line["eval/loss"] for line in metrics(runs / name) if "eval/loss" in line]
        row = next(line for line in table.splitlines() if line.startswith(str(runs / name)))
        assert "complete" in row and "12/12" in row and f"{losses[-1]:.4f}" in row
        # The same number as at the end of the training.
        loss = re.search(r"^ *training loss +(\S+), smoothed$", (runs / f"{name}.out").read_text(), re.MULTILINE)[1]
        assert f" {loss} " in row
    compared = minimind("runs", "compare", runs / "first", runs / "second").stdout
    assert re.search(r"^learning-rate +0\.001 +0\.01$", compared, re.MULTILINE)
    # What is the same is left out.
    assert "batch-tokens" not in compared and "tokenizer hash" not in compared and "machine" not in compared
    assert "held-out loss, best" in compared and "tokens/s, median" in compared
    refused = minimind("runs", "compare", runs / "first", runs / "data", check=False)
    assert refused.returncode == 1 and "holds no run" in refused.stderr
    refused = minimind("runs", "list", runs / "data", check=False)
    assert refused.returncode == 1 and "holds no run" in refused.stderr
    assert minimind("watch", check=False).returncode == 2
    # A run whose record is damaged does not hide the others.
    broken = runs / "broken"
    broken.mkdir()
    (broken / "training.json").write_text("{")
    listed = minimind("runs", "list", runs)
    assert "second" in listed.stdout and "broken" in listed.stderr
    shutil.rmtree(broken)


def test_watch_in_text(minimind, runs):
    text = minimind("watch", "--terminal", runs / "first", runs / "second").stdout
    assert text.count("step 12 of 12  complete") == 2
    last = [line["eval/loss"] for line in metrics(runs / "first") if "eval/loss" in line][-1]
    assert f"held-out loss {last:.4f}" in text
    plotted = sum(bin(ord(character) - 0x2800).count("1") for character in text if 0x2800 <= ord(character) < 0x2900)
    assert plotted >= 20


def test_foreign_files(binary, minimind, runs, tmp_path):
    """Records that lack something or are no records, and metrics of anything: a line for each, and the others as ever."""
    record = json.loads((runs / "first/training.json").read_text())
    records = {
        "older": json.dumps(record | {"options": {"data": "somewhere"}}), "newer": json.dumps(record | {"format": 2}),
        "empty": "", "binary": "\xff\0{", "list": "[1]", "deep": "[" * 100000, "no-steps": json.dumps(record | {"totalSteps": -3})}
    for name, text in records.items():
        shutil.copytree(runs / "first", tmp_path / name, symlinks=True)
        (tmp_path / name / "training.json").write_text(text, encoding="latin-1")
    shutil.copytree(runs / "first", tmp_path / "good", symlinks=True)
    (tmp_path / "good/training.json").write_text(json.dumps(record | {"totalSteps": 2**62}))
    huge = {"train/global_step": 13, "train/loss": 1e308, "train/tokens_per_second": 1e300, "train/peak_memory_bytes": -1e300,
            "train/tokens": 1e40, "train/expert_max_share": 1e99, "eval/loss": -1e308}
    odd = {"train/global_step": 14, "train/loss": "low", "train/expert_shares": [[], 5], "eval/loss": None}
    with (tmp_path / "good/metrics.jsonl").open("ab") as file:
        file.write(b"\xff\xfe\n5\nnull\n[]\n{\n" + b"[" * 100000 + b"\n")
        for line in (huge, odd, {"train/global_step": "x"}, {"train/global_step": 1e300}):
            file.write(json.dumps(line).encode() + b"\n")

    listed = minimind("runs", "list", tmp_path)
    assert re.search(r"^\S+/good .* 14/4611686018427387904 ", listed.stdout, re.MULTILINE)
    assert listed.stderr.count("\n") == len(records)
    for name in records:
        assert f"{tmp_path}/{name}/training.json is not the record of a run" in listed.stderr
    compared = minimind("runs", "compare", tmp_path / "good", runs / "second")
    assert "10000" in compared.stdout
    watched = minimind("watch", "--terminal", tmp_path).stdout
    assert watched.count("is not the record of a run") == len(records) and "step 14 of 4611686018427387904" in watched
    resumed = minimind("pretrain", "--resume", tmp_path / "older", check=False)
    assert resumed.returncode == 1 and "is not the record of a run" in resumed.stderr

    with subprocess.Popen([binary, "watch", tmp_path, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        address = re.search(r"at (http://\S+)\. ", process.stdout.readline())[1]
        listed = json.load(urllib.request.urlopen(f"{address}/runs"))
        good = next(index for index, run in enumerate(listed) if run["name"].endswith("good"))
        lines = json.load(urllib.request.urlopen(f"{address}/runs/{good}/metrics/0/0"))["lines"]
        process.terminate()
    assert [Path(run["name"]).name for run in listed] == sorted([*records, "good"])
    assert [run.get("totalSteps") for run in listed if "totalSteps" in run] == [2**62]
    steps = [line["train/global_step"] for line in lines]
    assert steps[-2:] == [13, 14] and steps == sorted(steps)


@pytest.fixture
def watched(binary, runs, tmp_path):
    """A page over copies of the runs, with a made-up third one; the page, and the folder of the copies."""
    for name in ("first", "second"):
        shutil.copytree(runs / name, tmp_path / name, symlinks=True)
        shutil.copy(runs / f"{name}.out", tmp_path)
    made = tmp_path / "third"
    made.mkdir()
    record = json.loads((runs / "first/training.json").read_text())
    options = {key: value for key, value in record["options"].items() if key != "model"}
    options |= {"from": "model", "beta": 0.1, "loss": "sigmoid", "length-normalized": False}
    (made / "training.json").write_text(json.dumps(record | {"stage": "dpo", "totalSteps": 40, "options": options}))
    lines = [{"train/global_step": step, "train/epoch": step / 40, "train/loss": 0.7 - step / 100,
              "train/aux_loss": 0.02, "train/expert_max_share": 0.4, "train/expert_entropy": 0.9,
              "train/expert_shares": [[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]], "train/learning_rate": 1e-5,
              "train/grad_norm": 1.5, "train/tokens": step * 100, "train/tokens_per_second": 1000,
              # As the first versions wrote it: half a GiB.
              "train/peak_memory_gb": 0.536870912, "train/rewards/chosen": step / 50, "train/rewards/rejected": -step / 50,
              "train/rewards/margins": step / 25, "train/rewards/accuracies": 0.8} for step in range(1, 21)]
    (made / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with subprocess.Popen([binary, "watch", tmp_path, "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        address = re.search(r"at (http://\S+)\. ", process.stdout.readline())[1] + "/"
        browser = Browser(tmp_path / "profile")
        try:
            page = BrowserPage(browser, width=1300, height=900)
            page.open(address)
            page.wait("document.querySelectorAll('.chart').length > 0")
            yield page, tmp_path
            assert [url for url in page.requests if not url.startswith(address)] == []
            assert page.problems == []
        finally:
            browser.close()
            process.terminate()
        assert process.wait(10) == 0


def titles(page):
    return page.run("[...document.querySelectorAll('.chart')].map(figure => figure.dataset.title)")


@pytest.mark.heavy
def test_watch_in_a_browser(watched, minimind):
    page, folder = watched
    assert page.count("#runs li") == 3 and "step 12 of 12, complete" in page.text("#runs")
    # The same numbers as in `runs list` and at the end of the training.
    listed = next(line for line in minimind("runs", "list", folder).stdout.splitlines() if "/first " in line)
    loss = re.search(r"12/12 +(\S+)", listed)[1]
    summary = (folder / "first.out").read_text()
    assert re.search(rf"^ *training loss +{loss}, smoothed$", summary, re.MULTILINE)
    memory = re.search(r"^ *peak memory +([\d.]+ \w+)", summary, re.MULTILINE)[1]
    assert f"loss {loss}, " in page.text("#runs li:nth-child(1)") and f"peak memory {memory}" in page.text("#runs li:nth-child(1)")
    compared = minimind("runs", "compare", folder / "first", folder / "second").stdout
    assert re.search(rf"^peak memory +{memory} ", compared, re.MULTILINE)
    assert "step 20 of 40, stopped" in page.text("#runs") and "peak memory 512.0 MiB" in page.text("#runs")
    assert {"Loss", "Learning rate", "Gradient norm", "Tokens a second", "Peak memory, MiB", "Reward of chosen answers",
            "Margin of the rewards", "Share of the busiest expert"} <= set(titles(page))
    told = page.run("document.querySelector('.chart[data-title=\"Loss\"] svg').getAttribute('aria-label')")
    last = [line["eval/loss"] for line in metrics(folder / "first") if "eval/loss" in line][-1]
    assert f"held out {last:.4g}" in told
    assert page.count("#experts rect") == 8 and page.count(".sample") == 2
    assert page.text(".sample pre").startswith("=== step 12")

    # Only the third run: no held-out loss, and no second name in the charts.
    page.click("#runs li:nth-child(1) input")
    page.click("#runs li:nth-child(2) input")
    assert page.count(".chart .held-out") == 0 and page.count(".chart circle") == 0
    # 20 steps of 100 tokens at 1000 a second.
    page.run("document.querySelector('#axis').value = 'time'; document.querySelector('#axis').dispatchEvent(new Event('change'))")
    box = page.run("(({x, y, width, height}) => [x + width * 0.98, y + height / 2])(document.querySelector('.chart svg').getBoundingClientRect())")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    page.wait("document.querySelector('.chart .values').textContent.startsWith('at 5.')")
    page.run("document.querySelector('#axis').value = 'tokens'; document.querySelector('#axis').dispatchEvent(new Event('change'))")
    page.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1] + 1)
    page.wait("document.querySelector('.chart .values').textContent.startsWith('at 19')")

    # It grows; half a line is not read; a file that replaces it is read again.
    path = folder / "third/metrics.jsonl"
    kept = path.read_text()
    with path.open("a") as file:
        file.write('{"train/global_step":21,"train/loss":0.1,"train/tokens":2100}\n{"train/global_step":22,"tra')
    page.wait("document.querySelector('#runs').innerText.includes('step 21 of 40')")
    (folder / "third/new").write_text(kept)
    (folder / "third/new").rename(path)
    page.wait("document.querySelector('#runs').innerText.includes('step 20 of 40')")

    page.appear(360, 700)
    page.wait("innerWidth === 360 && document.documentElement.scrollWidth === 360")


@pytest.mark.heavy
def test_watch_in_other_languages(watched):
    page, folder = watched
    check_texts(page, "watch-words.js")
    for code, loss, step in [("zh", "损失", "第 12 步（共 12 步）"), ("ja", "損失", "ステップ 12/12")]:
        page.run(f"document.querySelector('#language').value = '{code}'; document.querySelector('#language').dispatchEvent(new Event('change'))")
        assert page.run("document.documentElement.lang") == code
        assert loss in titles(page) and "Loss" not in titles(page) and step in page.text("#runs")
    page.reload()
    page.wait("document.querySelectorAll('.chart').length > 0")
    assert "損失" in titles(page) and page.text("h1") == "学習の記録"
    # A file that another program has written is drawn as far as it can be.
    with (folder / "third/metrics.jsonl").open("a") as file:
        file.write('5\n{"train/global_step":30,"train/expert_shares":[3],"train/loss":"low"}\n')
    page.wait("document.querySelector('#runs').innerText.includes('ステップ 30/40')")
    assert page.count("#experts rect") == 8 and page.run("document.querySelector('#problem').hidden")


@pytest.mark.heavy
def test_watch_gives_nothing_but_the_runs(watched):
    page, _ = watched
    page.allowed_statuses = {403, 404, 405}
    statuses = page.run("""Promise.all(['runs/3/samples', 'runs/-1/samples', 'runs/0/metrics/0/-5', 'runs/0/metrics/x/0',
        'runs/%2e%2e/samples', 'runs/0/training.json', '..%2f..%2fetc/passwd'].map(path => fetch(path).then(answer => answer.status)))""")
    assert set(statuses) == {404}
    assert page.run("fetch('runs', {method: 'POST'}).then(answer => answer.status)") == 405
