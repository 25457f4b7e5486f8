"""The JSON-Schema-Test-Suite, draft 2020-12: each schema is refused by name, or what constrained decoding writes under it is
valid, and it allows none of the suite's invalid documents. Schemas that describe more than a machine should build are
refused.

`scripts/schema_suite.sh` fetches the suite.
"""

import collections
import fractions
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

#: Formats that this draft defines and that answers keep to; the others of the draft are refused. Without
#: relative-json-pointer, of which jsonschema takes no number with a zero inside.
FORMATS = {"date", "time", "date-time", "duration", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6", "uri",
           "uri-reference", "iri", "iri-reference", "uuid", "json-pointer"}
#: What random logits write, for each schema.
ANSWERS = 6
#: The largest share of the schemas that may be refused, of those that some value meets.
REFUSED = 0.2
#: The least share of the valid documents that are allowed under the others. Not all are: types without `type`, keys
#: that a schema does not name, keys in another order; see docs/structured-output.md.
ALLOWED = 0.55
UNSATISFIABLE = re.compile("no value (of the types that it speaks of )?meets the schema")


def suite():
    folder = Path(sys.prefix) / "schema-suite"
    if not folder.is_dir():
        pytest.skip(f"no JSON-Schema-Test-Suite in {folder} (scripts/schema_suite.sh)")
    for path in sorted(folder.rglob("*.json")):
        for group in json.loads(path.read_text()):
            yield str(path.relative_to(folder)), group


def pattern(validator, expression, instance, schema):
    """`pattern` as ECMA-262 reads it, as far as Python can: `\\d` and `\\w` are ASCII, and `$` is the very end alone."""
    if validator.is_type(instance, "string") and not re.search(r"\\[pPcsS]", expression):
        expression = re.sub(r"(?<!\\)\$", r"\\Z", expression)
        if not re.search(expression, instance, re.ASCII):
            yield jsonschema.ValidationError(f"{instance!r} does not match {expression!r}")


def multiple_of(validator, step, instance, schema):
    """`multipleOf` for the numbers as they are written; jsonschema divides the nearest floats."""
    if validator.is_type(instance, "number") and fractions.Fraction(str(instance)) % fractions.Fraction(str(step)):
        yield jsonschema.ValidationError(f"{instance!r} is not a multiple of {step!r}")


Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": pattern, "multipleOf": multiple_of})
CHECKER = jsonschema.FormatChecker(())
CHECKER.checkers = {name: jsonschema.Draft202012Validator.FORMAT_CHECKER.checkers[name] for name in FORMATS}


def errors(schema, text):
    """What is wrong with an answer."""
    document = json.loads(text, object_pairs_hook=without_repetition)
    try:
        return list(Validator(schema, format_checker=CHECKER).iter_errors(document))
    except re.error:
        assert "\\p" in json.dumps(schema), schema  # Python has no classes of Unicode.
        return []


def compact(document):
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def without_repetition(pairs):
    assert len({key for key, _ in pairs}) == len(pairs), f"a key comes twice: {pairs}"
    return dict(pairs)


def test_the_whole_suite_is_refused_by_name_or_kept_to(probe, tokenizer_directory, tmp_path):
    groups = list(suite())
    cases = [{"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": group["schema"]}},
              "seed": seed, "documents": [compact(test["data"]) for test in group["tests"]] if seed == 0 else []}
             for _, group in groups for seed in range(ANSWERS)]
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    lines = probe("structured", tokenizer_directory, tmp_path / "cases.json").split("\n")
    results = [json.loads(line) for line in lines if line]
    assert len(results) == len(cases)
    refused, faults, counts = collections.Counter(), [], collections.Counter()
    for index, (path, group) in enumerate(groups):
        answers = results[index * ANSWERS:(index + 1) * ANSWERS]
        if "error" in answers[0]:
            # Who reads that there is no value believes it.
            assert "no value meets the schema" not in answers[0]["error"] or not any(
                test["valid"] for test in group["tests"]), (path, group["description"])
            # The suite agrees that there is none, or only values of types that the schema does not speak of.
            unsatisfiable = UNSATISFIABLE.search(answers[0]["error"]) and not any(test["valid"] for test in group["tests"])
            counts["unsatisfiable" if unsatisfiable else "refused"] += 1
            refused[answers[0]["error"].split(": ", 1)[1]] += 1
            continue
        counts["kept"] += 1
        for answer in answers:
            counts["answers"] += 1
            texts = [answer["shortest"]] if answer["shortest"] is not None else []
            if answer["finished"]:
                counts["finished"] += 1
                texts.append(answer["text"])
            for text in texts:
                faults += [(path, group["description"], text, str(error)[:200]) for error in errors(group["schema"], text)]
        for test, allowed in zip(group["tests"], answers[0]["accepted"], strict=True):
            counts["valid"] += test["valid"]
            counts["valid and allowed"] += test["valid"] and allowed
            if allowed and not test["valid"]:
                faults.append((path, group["description"], compact(test["data"]), "allowed by mistake"))
    satisfiable = counts["kept"] + counts["refused"]
    print(dict(counts), f"refused {counts['refused'] / satisfiable:.1%}")
    for reason, number in refused.most_common():
        print(f"{number:4} {reason}")
    assert not faults, "\n".join(map(str, faults))
    assert counts["refused"] <= REFUSED * satisfiable
    assert counts["valid and allowed"] >= ALLOWED * counts["valid"]
    assert counts["finished"] > 0.9 * counts["answers"]


def deep(count, opening, closing, inside):
    return opening * count + inside + closing * count


#: What the program and all that it holds for a schema may take.
MEMORY = 80 << 20
#: Schemas that describe more than a machine should build.
HOSTILE = {
    "a large count": {"pattern": "a{1,1000000}"},
    "an exponential automaton": {"pattern": "^(a|b)*a(a|b){40}$"},
    "counts of counts": {"pattern": deep(20, "(", "){1,9}", "a")},
    "many formats that differ": {"prefixItems": [{"anyOf": [{"format": "uri"}, {"format": "email"}]}] * 50, "uniqueItems": True},
    "classes of Unicode": {"pattern": "^(\\p{L}|\\p{N}){40}(\\p{Lu}\\p{Ll}){40}$", "maxLength": 900},
    "a product of choices": {"type": "object", "allOf": [
        {"anyOf": [{"required": [f"a{number}"]}, {"required": [f"b{number}"]}]} for number in range(30)]},
    "patterns of keys": {"patternProperties": {f"^.{{0,{300 + number}}}x": {} for number in range(8)}, "additionalProperties": {}},
    "alternatives that exclude each other": {
        "oneOf": [{"properties": {"k": {"const": number}}, "required": ["k"]} for number in range(900)]},
    "values of megabytes": {"enum": ["x" * 1000 + str(number) for number in range(3900)]},
    "deep groups": {"pattern": deep(5000, "(", ")", "a")},
    "deep schemas": json.loads(deep(50, '{"items":', "}", '{"pattern":"(?:a{9999}){9}"}')),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_costs_little(binary, tokenizer_directory, tmp_path, name):
    def run(schema):
        """The answer and the seconds of the processor's time, with MEMORY bytes at most."""
        (tmp_path / "cases.json").write_text(json.dumps([{"response_format": {
            "type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}, "seed": 0, "documents": []}]))
        process = subprocess.Popen(
            [Path(binary).with_name("interop-probe"), "structured", tokenizer_directory, tmp_path / "cases.json"],
            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY)))
        answer = process.stdout.read()
        _, process.returncode, usage = os.wait4(process.pid, 0)
        assert process.returncode == 0
        return json.loads(answer), usage.ru_utime + usage.ru_stime

    _, least = run({"format": "regex"})
    answer, time = run(HOSTILE[name])
    print(name, answer["error"][-100:], f"{time - least:.3f} s")
    # A tenth of a second, and what the whole process takes to read the case; without the bounds it would be hours.
    assert time - least < 0.2
