"""generation_config.json as `transformers` writes and reads it: sampling defaults, and the tokens that end a text."""

import json
import os

import pytest
from conftest import VOCABULARY
from random_model import make_model

pytestmark = pytest.mark.heavy
os.environ["HF_HUB_OFFLINE"] = "1"

import torch  # noqa: E402
import transformers  # noqa: E402

LENGTH = 24


@pytest.fixture(scope="module")
def model(tokenizer_directory, tmp_path_factory):
    """A model whose greedy text does not repeat itself soon."""
    directory = tmp_path_factory.mktemp("generation") / "model"
    make_model(directory, tokenizer_directory, scale=0.5, seed=3)
    return directory


@pytest.mark.parametrize("given", [
    {"do_sample": True, "temperature": 0.6, "top_p": 0.9}, {"do_sample": True, "top_k": 7},
    {"do_sample": True, "temperature": 1.3, "top_k": 0, "min_p": 0.05}, {"do_sample": True, "repetition_penalty": 1.2},
    {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8, "max_new_tokens": 9}], ids=json.dumps)
def test_sampling_defaults(minimind, model, given):
    transformers.GenerationConfig(eos_token_id=2, **given).save_pretrained(model)
    theirs = transformers.GenerationConfig.from_pretrained(model)
    # What `generate` of transformers fills in where the file says nothing; None there means that the filter is off.
    filled = theirs._get_default_generation_params() | {
        key: value for key, value in theirs.to_dict().items() if value is not None}
    neutral = {"temperature": 1, "top_k": 0, "top_p": 1, "min_p": 0, "repetition_penalty": 1}
    expected = {key: neutral[key] if filled.get(key) is None else filled[key] for key in neutral}
    if "max_new_tokens" in given:
        expected["max_new_tokens"] = theirs.max_new_tokens
    assert json.loads(minimind("info", model, "--json").stdout)["sampling"] == pytest.approx(expected)


def test_a_text_ends_at_each_end_token(minimind, model):
    def ours():
        answer = minimind("generate", "--model", model, "--prompt", "Hello", "--temperature", 0, "--type", "fp32",
                          "--max-tokens", LENGTH, "--json").stdout
        return json.loads(answer)

    peer = transformers.LlamaForCausalLM.from_pretrained(model, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    prompt = torch.tensor([[1, *tokenizer.encode("Hello", add_special_tokens=False)]])

    def theirs(ends):
        written = peer.generate(prompt, do_sample=False, max_new_tokens=LENGTH, pad_token_id=0, eos_token_id=ends)
        return written[0, prompt.shape[1]:].tolist()

    text = theirs([VOCABULARY - 1])
    assert len(text) == LENGTH and len(set(text)) > 8
    # The end is not part of the answer that is shown.
    for ends in ([text[0]], [2, text[3]], [text[9], text[5]], text[14]):
        transformers.GenerationConfig(eos_token_id=ends, do_sample=False).save_pretrained(model)
        expected = theirs(ends)
        assert 0 < len(expected) < LENGTH
        found = ours()
        assert found["text"] == tokenizer.decode(expected[:-1]), ends
        listed = ends if isinstance(ends, list) else [ends]
        assert set(listed) <= set(json.loads(minimind("info", model, "--json").stdout)["end_tokens"])
