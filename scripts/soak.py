#!/usr/bin/env python3
"""Disturbs a training run for hours, and looks whether it is the worse for it.

    scripts/soak.py [--minutes 120] [--seed N]

A small model learns the project's own text on one thread. At random moments (in the start, while files are written, at
any time) its process is killed, told to stop (SIGTERM), finds the disk full or finds it slow, and then goes on by
--resume. After each end every checkpoint must be whole, none lost that was there before, and the run readable; after the
next resume no temporary file may be left. A second run of the same options is left alone, and only waits when it is far
ahead. In the end the newest checkpoint that both have must be the same: weights, moments and state to the bit, and the
metrics and samples of all steps before it. Exit code 0 if so.

The run lies on a small file system in memory, mounted for this program alone, so a full disk is one, and needs root or
user namespaces. A slow disk is imitated: while a file is being written the process is stopped for most of the time.
"""

import argparse
import collections
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
MODEL = {
    "architectures": ["LlamaForCausalLM"], "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 4,
    "num_attention_heads": 6, "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 256,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": True}
INTERVAL = 10
#: Checkpoints kept, and steps that the run which is left alone may be ahead: it still has what the other one has newest.
KEPT, AHEAD = 50, 200
OPTIONS = ["--steps", 1000000, "--threads", 1, "--batch-tokens", 8192, "--micro-batch-tokens", 2048, "--sequence-length",
           256, "--checkpoint-interval", INTERVAL, "--keep-checkpoints", KEPT, "--eval-interval", INTERVAL, "--eval-tokens",
           4096, "--sample-prompt", "The run"]
DISK_BYTES = 320 << 20
#: Less than a checkpoint asks for before it begins (`Checkpoint.byteCount`), so that what is left can be filled quickly.
NEARLY_FULL_BYTES = 20 << 20
#: Longer than any step, start or end may take, on a busy machine too.
PATIENCE = 1200


class Fault(Exception):
    """What must not happen has happened."""


def mount_disk(path):
    """Mounts a small file system that only this process and its children see, and that ends with them."""
    new_mounts, new_users = 0x00020000, 0x10000000
    user, group = os.getuid(), os.getgid()
    path.mkdir()
    try:
        if ctypes.CDLL(None, use_errno=True).unshare(new_mounts if user == 0 else new_mounts | new_users) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        if user == 0:
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        else:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {user} 1")
            Path("/proc/self/gid_map").write_text(f"0 {group} 1")
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", path], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"soak: no small file system can be mounted here ({error}). It takes root, or a system that lets users make "
                 "user namespaces.")


def checkpoints(run):
    """The steps that have a checkpoint, in order."""
    names = [path.name for path in (run / "checkpoints").glob("step-*")]
    return sorted(int(name[5:]) for name in names if name[5:].isdigit())


def newest(run):
    return max(checkpoints(run), default=-1)


def temporary_files(run):
    return {path for folder in (run, run / "checkpoints") for path in folder.glob("*.partial-*")}


def metrics(run):
    """The whole lines of metrics.jsonl."""
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def last_step(run):
    return max((row["train/global_step"] for row in metrics(run)), default=-1)


def curve(run, step):
    """The metrics up to a step that depend neither on the clock nor on the memory."""
    return [{key: row[key] for key in row if key not in ("train/tokens_per_second", "train/peak_memory_bytes")}
            for row in metrics(run) if row["train/global_step"] <= step]


def samples(run, step):
    """samples.txt up to a step."""
    parts = (run / "samples.txt").read_text().split("=== step ")[1:]
    return [part.strip() for part in parts if int(part.split()[0]) <= step]


def check_safetensors(path):
    """The file is as long as its header says."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        tensors = json.loads(file.read(length))
    end = max(tensor["data_offsets"][1] for name, tensor in tensors.items() if name != "__metadata__")
    if path.stat().st_size != 8 + length + end:
        raise Fault(f"{path} has {path.stat().st_size} bytes, its header says {8 + length + end}")


class Soak:
    def __init__(self, binary, work, minutes, seed):
        self.binary, self.work = binary, work
        self.random = random.Random(seed)
        self.run, self.alone, self.filler = work / "disk/run", work / "alone", work / "disk/filler"
        self.longest_pause = min(40, 3 * minutes)
        self.deadline = time.monotonic() + 60 * minutes
        self.counts, self.redone, self.resumes = collections.Counter(), 0, 0
        self.saved, self.leftovers = -1, set()
        self.process = self.undisturbed = None
        self.finished = threading.Event()

    def start(self, *arguments):
        return subprocess.Popen(
            [self.binary, "pretrain", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)

    def prepare(self):
        """Text, tokenizer and data; begins both runs."""
        text, tokenizer, data, model = (self.work / name for name in ("text.txt", "tokenizer", "data", "model.json"))
        files = sorted([*REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("Sources/*/*.swift")])
        text.write_text("\n".join(path.read_text() for path in files))
        model.write_text(json.dumps(MODEL))
        for arguments in (
                ["tokenizer", "train", "--input", text, "--output", tokenizer, "--vocab-size", str(MODEL["vocab_size"])],
                ["data", "pretrain", "--input", text, "--whole-files", "--tokenizer", tokenizer, "--output", data]):
            subprocess.run([self.binary, *arguments], check=True, stdout=subprocess.DEVNULL)
        self.process, self.undisturbed = (
            self.start("--model", model, "--data", data, "--output", run, *OPTIONS) for run in (self.run, self.alone))
        threading.Thread(target=self.hold_back, daemon=True).start()
        self.wait(lambda: self.saved < newest(self.run), "the first checkpoint")

    def hold_back(self):
        """Lets the undisturbed run wait for the other one."""
        while not self.finished.wait(0.2):
            ahead = newest(self.alone) > newest(self.run) + AHEAD
            self.undisturbed.send_signal(signal.SIGSTOP if ahead else signal.SIGCONT)

    def wait(self, condition, what, interval=0.02):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None:
                raise Fault(f"the run ended with code {self.process.returncode}: {self.process.stderr.read()}")
            if time.monotonic() > deadline:
                raise Fault(f"after {PATIENCE} s, {what} has not come")
            time.sleep(interval)

    def wait_for_moment(self):
        """Waits for a random moment and says which kind it is."""
        moment = self.random.choices(["start", "writing", "any time"], [1, 2, 2])[0]
        if moment == "start":
            time.sleep(self.random.uniform(0, 1))
            return moment
        # A new checkpoint each time, so that the run gets on, however busy the machine is.
        self.wait(lambda: newest(self.run) > self.saved, "a checkpoint")
        if found := self.leftovers & temporary_files(self.run):
            raise Fault(f"the resumed run has left {sorted(map(str, found))}")
        self.leftovers = set()
        end = time.monotonic() + self.random.uniform(0, self.longest_pause)
        self.wait(lambda: time.monotonic() > end, "the end of a pause")
        if moment == "writing":
            self.wait(lambda: temporary_files(self.run), "a file being written", interval=0.001)
        return moment

    def ended(self, codes, what):
        """Waits for the end of the process, which must have one of the exit codes; what it wrote to standard error."""
        try:
            _, errors = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise Fault(f"{what}: the process has not ended after {PATIENCE} s") from None
        if self.process.returncode not in codes:
            raise Fault(f"{what}: exit code {self.process.returncode}, expected {codes}: {errors}")
        return errors

    def check(self):
        """What the run has on the disk, its process gone."""
        steps = checkpoints(self.run)
        if not steps or steps[-1] < self.saved:
            raise Fault(f"there was a checkpoint of step {self.saved}, now there are {steps}")
        for step in steps:
            folder = self.run / f"checkpoints/step-{step}"
            check_safetensors(folder / "model/model.safetensors")
            check_safetensors(folder / "optimizer.safetensors")
            if json.loads((folder / "state.json").read_text())["step"] != step:
                raise Fault(f"{folder} is of another step")
        shown = subprocess.run([self.binary, "info", self.run], capture_output=True, text=True)
        if shown.returncode != 0:
            raise Fault(f"the run cannot be read: {shown.stderr}")
        self.saved = steps[-1]
        self.leftovers |= temporary_files(self.run)

    def resume(self):
        self.check()
        self.redone += max(0, last_step(self.run) - self.saved)
        self.process = self.start("--resume", self.run)
        self.resumes += 1

    # The injections. Each ends with a process that runs.

    def kill(self, moment):
        self.process.kill()
        self.ended([-signal.SIGKILL], "kill -9")
        self.resume()

    def terminate(self, moment):
        self.process.terminate()
        # In the start the signal ends the process before anybody listens for it, and there is nothing to save.
        errors = self.ended([130, -signal.SIGTERM] if moment == "start" else [130], "SIGTERM")
        if self.process.returncode == 130 and ("everything is saved" not in errors or newest(self.run) != last_step(self.run)):
            raise Fault(f"SIGTERM lost steps: {last_step(self.run)} made, {newest(self.run)} saved: {errors}")
        self.resume()

    def fill(self, moment):
        """Fills the disk, wholly or so that a checkpoint does not fit; sometimes tries to go on before there is room."""
        rest = self.random.choice([0, 0, self.random.randrange(NEARLY_FULL_BYTES)])
        with open(self.filler, "wb", buffering=0) as file:
            self.fill_up_to(file, NEARLY_FULL_BYTES)
            if moment == "writing":
                # A checkpoint may have been refused already, which is as well.
                deadline = time.monotonic() + 10
                while not temporary_files(self.run) and self.process.poll() is None and time.monotonic() < deadline:
                    time.sleep(0.001)
            self.fill_up_to(file, rest)
        self.expect_full_disk("full disk")
        while self.random.random() < 0.3:
            self.check()
            self.process = self.start("--resume", self.run)
            self.counts["resumed on the full disk"] += 1
            self.expect_full_disk("resume on a full disk")
        self.filler.unlink()
        self.resume()

    def expect_full_disk(self, what):
        errors = self.ended([1], what)
        # Either a write found no room, or a resume counted what its checkpoints need and did not begin.
        beginnings = ("error: cannot ", "error: the checkpoints of this run need ")
        if not errors.startswith(beginnings) or "ree some space" not in errors or errors.count("\n") != 1:
            raise Fault(f"{what}: {errors}")

    def fill_up_to(self, file, rest):
        """Writes until only `rest` bytes of the disk are free."""
        for size in (1 << 16, 1 << 12):
            try:
                while (status := os.statvfs(self.run)).f_bavail * status.f_frsize >= rest + size:
                    file.write(bytes(size))
            except OSError:
                pass

    def slow_down(self, moment):
        """Lets the process write for a twentieth of the time only, for a while; sometimes it is killed meanwhile."""
        end = time.monotonic() + self.random.uniform(0, self.longest_pause)
        while time.monotonic() < end:
            self.wait(lambda: temporary_files(self.run) or time.monotonic() > end, "a file being written", interval=0.001)
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(0.1)
            self.process.send_signal(signal.SIGCONT)
            time.sleep(0.005)
        if self.random.random() < 0.5:
            self.kill(moment)

    def disturb(self):
        kinds = [("kill -9", self.kill, 4), ("SIGTERM", self.terminate, 2), ("full disk", self.fill, 2),
                 ("slow disk", self.slow_down, 2)]
        begin = time.monotonic()
        while time.monotonic() < self.deadline:
            (name, action, _), = self.random.choices(kinds, [weight for *_, weight in kinds])
            moment = self.wait_for_moment()
            action(moment)
            self.counts[f"{name}, {moment}"] += 1
            print(f"{time.monotonic() - begin:6.0f} s  step {self.saved}  {name}, {moment}", flush=True)

    def is_evaluated(self, step):
        state = json.loads((self.run / f"checkpoints/step-{step}/state.json").read_text())
        return state["lastEvaluation"]["step"] == step

    def compare(self):
        """Ends both runs and compares them; the step that they were compared at."""
        self.wait(lambda: newest(self.run) > self.saved, "the last checkpoint")
        self.terminate("any time")
        self.process.kill()
        self.process.communicate()
        # The stop may have cut an evaluation short, which is made when a run goes on.
        step = max(step for step in checkpoints(self.run) if step % INTERVAL == 0 and self.is_evaluated(step))
        self.finished.set()
        self.process = self.undisturbed
        self.process.send_signal(signal.SIGCONT)
        self.wait(lambda: newest(self.alone) >= step, "the step in the undisturbed run")
        self.process.kill()
        self.process.communicate()
        folders = [run / f"checkpoints/step-{step}" for run in (self.run, self.alone)]
        for name in ("model/model.safetensors", "optimizer.safetensors"):
            if (folders[0] / name).read_bytes() != (folders[1] / name).read_bytes():
                raise Fault(f"{name} of step {step} differs from that of the undisturbed run")
        states = [json.loads((folder / "state.json").read_text()) | {"seconds": None} for folder in folders]
        if states[0] != states[1]:
            raise Fault(f"state.json of step {step} differs: {states}")
        for what in (curve, samples):
            found, expected = what(self.run, step), what(self.alone, step)
            if found != expected:
                raise Fault(f"the {what.__name__} up to step {step} differs from that of the undisturbed run")
        return step

    def end(self):
        self.finished.set()
        for process in (self.process, self.undisturbed):
            if process and process.poll() is None:
                process.kill()
                process.communicate()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120, help="how long to disturb the run")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31), help="of the moments and kinds")
    parser.add_argument("--binary", type=Path, default=REPOSITORY / ".build/release/minimind")
    arguments = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit("soak: stopped by SIGTERM"))
    work = Path(tempfile.mkdtemp(prefix="minimind-soak-"))
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes, in {work}", flush=True)
    mount_disk(work / "disk")
    begin = time.monotonic()
    soak = Soak(arguments.binary.resolve(), work, arguments.minutes, arguments.seed)
    fault = None
    try:
        soak.prepare()
        soak.disturb()
        step = soak.compare()
    except Fault as error:
        fault = error
    finally:
        soak.end()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    if fault:
        # The file system goes with this process.
        shutil.copytree(soak.run, work / "run", symlinks=True)
    subprocess.run(["umount", "--lazy", work / "disk"])
    print("\n| injected | times |\n|---|---|")
    for name, count in sorted(soak.counts.items()):
        print(f"| {name} | {count} |")
    print(f"\n{soak.resumes} resumes, {soak.redone} steps made again, {time.monotonic() - begin:.0f} s; both runs took "
          f"{used.ru_utime + used.ru_stime:.0f} s of processor time.")
    if fault:
        sys.exit(f"fault: {fault}\nThe run is in {work / 'run'}, the undisturbed one in {soak.alone}.")
    shutil.rmtree(work)
    print(f"Step {step}: weights, moments, metrics and samples are those of the undisturbed run.")


if __name__ == "__main__":
    main()
