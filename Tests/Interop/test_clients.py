"""`minimind serve` used by LangChain and by EleutherAI's lm-eval, as their users do."""

import json
import math
import os

import pytest

pytestmark = pytest.mark.heavy
# Everything that the clients need is here; they must not look for it elsewhere.
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

from serving import Server  # noqa: E402


def test_langchain(server):
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    fields = dict(base_url=server.url, api_key="any", model="my-model", temperature=0, max_tokens=20)
    chat = ChatOpenAI(**fields)
    answer = chat.invoke([("system", "Be brief."), ("human", "你好")])
    assert answer.usage_metadata["output_tokens"] <= 20 and answer.response_metadata["finish_reason"]
    streamed = list(chat.stream([("system", "Be brief."), ("human", "你好")]))
    assert "".join(chunk.content for chunk in streamed) == answer.content
    assert chat.bind(logprobs=True).invoke("hello").response_metadata["logprobs"]["content"]
    assert len(chat.batch(["a", "b", "c"])) == 3
    schema = {"title": "x", "type": "object", "properties": {"yes": {"type": "boolean"}}, "required": ["yes"],
              "additionalProperties": False}
    structured = ChatOpenAI(**fields | {"max_tokens": 60}).with_structured_output(schema, method="json_schema")
    assert isinstance(structured.invoke("hello")["yes"], bool)
    embeddings = OpenAIEmbeddings(base_url=server.url, api_key="any", model="m", check_embedding_ctx_length=False)
    vectors = embeddings.embed_documents(["a", "b"])
    assert len(vectors) == 2 and embeddings.embed_query("a") == pytest.approx(vectors[0], abs=1e-5)


def test_embeddings_are_the_mean_of_the_final_hidden_states(binary, model):
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["Hello", "The sky is blue.", "你好，世界"]
    tokenizer, oracle = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    with Server(binary, model, "--type", "fp32") as server:
        entries = server.post("/v1/embeddings", input=texts)[1]["data"]
    for text, entry in zip(texts, entries):
        tokens = [tokenizer.bos_token_id, *tokenizer.encode(text, add_special_tokens=False)]
        with torch.inference_mode():
            mean = oracle(torch.tensor([tokens])).last_hidden_state[0].mean(0)
        assert entry["embedding"] == pytest.approx((mean / mean.norm()).tolist(), abs=1e-5)


TASK = """
task: two_choices
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{questions}"}}}}
test_split: test
output_type: multiple_choice
target_delimiter: ""
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
doc_to_choice: "{{{{choices}}}}"
metric_list: [{{metric: acc}}]
metadata: {{version: 1}}
"""
QUESTIONS = [
    {"question": "The sky is", "choices": [" blue", " a long green fish"], "answer": 0},
    {"question": "你好", "choices": ["。", "，世界和平"], "answer": 1},
    {"question": "One two", "choices": [" three", " four five"], "answer": 0},
]


def test_lm_eval(server, model, tmp_path):
    import lm_eval
    from lm_eval.tasks import TaskManager
    from tokenizers import Tokenizer

    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, QUESTIONS)))
    (tmp_path / "task.yaml").write_text(TASK.format(questions=tmp_path / "questions.jsonl"))
    results = lm_eval.simple_evaluate(
        model="local-completions", tasks=["two_choices"], batch_size=2, log_samples=True, bootstrap_iters=0,
        model_args=f"model=my-model,base_url={server.url}/completions,tokenizer={model},max_length=512",
        task_manager=TaskManager(include_path=str(tmp_path), include_defaults=False))
    samples = results["samples"]["two_choices"]
    assert len(samples) == len(QUESTIONS)
    # What lm-eval made of the answers is what the server says of each text, as the tokens that lm-eval sends.
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    for sample in samples:
        question = sample["doc"]["question"]
        first = len(tokenizer.encode(question).ids)
        for choice, ((value, _),) in zip(sample["doc"]["choices"], sample["resps"]):
            reply = server.post("/v1/completions", prompt=tokenizer.encode(question + choice).ids, echo=True,
                                logprobs=1, max_tokens=0)
            report = reply[1]["choices"][0]["logprobs"]
            assert value == pytest.approx(math.fsum(report["token_logprobs"][first:]), abs=0.05)
