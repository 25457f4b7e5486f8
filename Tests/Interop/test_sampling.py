"""The sampler's distributions against the logits processors of `transformers`."""

import json
import random

import pytest

pytestmark = pytest.mark.heavy

import torch  # noqa: E402
from transformers import (  # noqa: E402
    LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

VOCABULARY = 500


def processors(case):
    """In the order in which `generate` of transformers runs them."""
    chosen = LogitsProcessorList()
    if case.get("logit_bias"):
        chosen.append(SequenceBiasLogitsProcessor({(int(token),): bias for token, bias in case["logit_bias"].items()}))
    if "repetition_penalty" in case:
        chosen.append(RepetitionPenaltyLogitsProcessor(case["repetition_penalty"]))
    chosen.append(TemperatureLogitsWarper(case["temperature"]))
    if case.get("top_k"):
        chosen.append(TopKLogitsWarper(case["top_k"]))
    if case.get("top_p", 1.0) < 1:
        chosen.append(TopPLogitsWarper(case["top_p"]))
    if case.get("min_p"):
        chosen.append(MinPLogitsWarper(case["min_p"]))
    return chosen


def random_case(seed):
    generator = random.Random(seed)
    spread = generator.choice([0.5, 2, 6])
    case = {"logits": [generator.gauss(0, spread) for _ in range(VOCABULARY)],
            "context": [generator.randrange(VOCABULARY) for _ in range(20)],
            "temperature": generator.choice([0.3, 0.7, 1.0, 1.7])}
    for name, values in {"top_k": [1, 8, 40, 499, 900], "top_p": [0.1, 0.5, 0.9, 0.99], "min_p": [0.02, 0.1, 0.5],
                         "repetition_penalty": [0.7, 1.1, 2.0]}.items():
        if generator.random() < 0.5:
            case[name] = generator.choice(values)
    if generator.random() < 0.3:
        case["logit_bias"] = {str(generator.randrange(VOCABULARY)): generator.choice([-100.0, -2.0, 1.5]) for _ in range(5)}
    return case


def test_distributions_are_those_of_transformers(probe, tmp_path):
    cases = [random_case(seed) for seed in range(300)]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    for seed, (case, found) in enumerate(zip(cases, json.loads(probe("distributions", tmp_path / "cases.json")), strict=True)):
        # fp64: how the filters' sums are rounded is not what is compared.
        scores = processors(case)(torch.tensor([case["context"]]), torch.tensor([case["logits"]], dtype=torch.float64))
        expected = torch.softmax(scores[0], -1)
        error = (torch.tensor(found, dtype=torch.float64) - expected).abs().max().item()
        assert error < 2e-6, f"case {seed}: off by {error:.1e} with { {k: v for k, v in case.items() if k != 'logits'} }"
