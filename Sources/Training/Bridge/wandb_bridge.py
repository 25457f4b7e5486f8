"""Sends the numbers of a run to Weights & Biases. `--wandb` starts it and writes to it, a JSON object a line: first what
the run is, then its metrics as in metrics.jsonl. It answers "ready" once the run is open there."""

import json
import os
import sys

import wandb

# Ctrl-C is for the training, which has more to say before it ends.
os.setpgid(0, 0)
about = json.loads(sys.stdin.readline())
run = wandb.init(
    project=about["project"], name=about["name"], id=about["id"], dir=about["directory"], config=about["config"],
    resume="allow", settings=wandb.Settings(console="off"))
# Steps that a resumed run repeats keep their place.
run.define_metric(about["step"])
run.define_metric("*", step_metric=about["step"])
print("ready", flush=True)
for line in sys.stdin:
    run.log(json.loads(line))
run.finish()
