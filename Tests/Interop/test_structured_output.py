"""Constrained decoding against `jsonschema`: random logits under a schema must write valid documents, and valid documents
must be allowed.

The constraint runs in `interop-probe`, which `swift build --build-tests` makes beside the program.
"""

import copy
import json
import random
import re
import string

import jsonschema

WORDS = ["a", "ab", "name", "größe", "名字", "x y", "q\"uote", "<s>", "🙂", ""]


def random_schema(generator, depth=0):
    """A schema of the supported kind. Properties are few, so that names collide."""
    kinds = ["string", "integer", "number", "boolean", "null", "enum", "const", "many types"]
    if depth < 3:
        kinds += 2 * ["object", "array", "anyOf", "oneOf"]
    kind = generator.choice(kinds)
    if kind == "string":
        schema = {"type": "string"}
        if generator.random() < 0.5:
            schema["minLength"] = generator.randrange(4)
        if generator.random() < 0.5:
            schema["maxLength"] = generator.randrange(4, 12)
        return schema
    if kind in ("integer", "number"):
        schema = {"type": kind}
        low, high = sorted(generator.sample(range(-300, 300), 2))
        scale = 1 if kind == "integer" else generator.choice([1, 4, 1000])
        if generator.random() < 0.5:
            schema[generator.choice(["minimum", "exclusiveMinimum"])] = low / scale if scale > 1 else low
        if generator.random() < 0.5:
            schema[generator.choice(["maximum", "exclusiveMaximum"])] = (high + 2) / scale if scale > 1 else high + 2
        return schema
    if kind == "enum":
        return {"enum": generator.sample([1, -2.5, "a", "ab", "\n\"", None, True, [1, {"k": []}], {}], generator.randrange(1, 5))}
    if kind == "const":
        return {"const": generator.choice(["only", 7, None, {"a": [1, 2]}])}
    if kind == "many types":
        return {"type": generator.sample(["string", "integer", "boolean", "null", "array"], 3), "maxLength": 3, "maxItems": 2}
    if kind == "array":
        schema = {"type": "array", "items": random_schema(generator, depth + 1)}
        if generator.random() < 0.5:
            schema["minItems"] = generator.randrange(3)
        if generator.random() < 0.5:
            schema["maxItems"] = generator.randrange(3, 5)
        return schema
    if kind == "anyOf":
        return {"anyOf": [random_schema(generator, depth + 1) for _ in range(generator.randrange(1, 4))]}
    if kind == "oneOf":
        return {"oneOf": [{"type": "object", "properties": {"kind": {"const": word}, "value": random_schema(generator, depth + 1)},
                           "required": ["kind", "value"]} for word in generator.sample(WORDS, 2)]}
    names = generator.sample(WORDS, generator.randrange(4))
    schema = {"type": "object", "properties": {name: random_schema(generator, depth + 1) for name in names},
              "required": [name for name in names if generator.random() < 0.5]}
    choice = generator.random()
    if choice < 0.4:
        schema["additionalProperties"] = False
    elif choice < 0.6:
        schema["additionalProperties"] = random_schema(generator, depth + 1)
    return schema


def random_text(generator, minimum, maximum):
    alphabet = string.ascii_letters + " \"\\/\n\té名字🙂"
    return "".join(generator.choice(alphabet) for _ in range(generator.randint(minimum, maximum)))


def random_document(generator, schema):
    """A document that the schema allows and that keeps to what constrained decoding promises: properties in order, no key
    that the schema is silent about."""
    if "enum" in schema:
        return generator.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return random_document(generator, generator.choice(schema[key]))
    kind = schema["type"]
    kind = generator.choice(kind) if isinstance(kind, list) else kind
    if kind == "string":
        minimum = schema.get("minLength", 0)
        return random_text(generator, minimum, schema.get("maxLength", minimum + 20))
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -500))
        high = schema.get("maximum", schema.get("exclusiveMaximum", 500))
        bounded = len(schema) > 1
        for _ in range(1000):
            value = generator.uniform(low, high)
            value = round(value) if kind == "integer" else round(value, 6) if bounded else value
            if abs(value) < 1e-4 or jsonschema.Draft202012Validator(schema).is_valid(value) is False:
                continue
            return value
        return low if jsonschema.Draft202012Validator(schema).is_valid(low) else high
    if kind == "boolean":
        return generator.random() < 0.5
    if kind == "null":
        return None
    if kind == "array":
        minimum = schema.get("minItems", 0)
        items = schema.get("items", {"type": "string"})
        return [random_document(generator, items) for _ in range(generator.randint(minimum, schema.get("maxItems", minimum + 3)))]
    document = {name: random_document(generator, value) for name, value in schema["properties"].items()
                if name in schema["required"] or generator.random() < 0.5}
    additional = schema.get("additionalProperties", False)
    if additional:
        for name in generator.sample(["k", "ke", "other", "键"], generator.randrange(3)):
            document[name] = random_document(generator, additional)
    return document


def damaged(generator, document):
    """The document with one change somewhere, or another one."""
    document = copy.deepcopy(document)
    if isinstance(document, dict) and document and generator.random() < 0.7:
        key = generator.choice(list(document))
        if generator.random() < 0.4:
            del document[key]
        else:
            document[key] = damaged(generator, document[key])
        return document
    if isinstance(document, list) and document and generator.random() < 0.7:
        index = generator.randrange(len(document))
        document[index] = damaged(generator, document[index])
        return document
    return generator.choice([None, 0, -7, 250, 0.3, "", "a", "something longer", [], [1], {}, {"kind": "a"}, True])


def run(probe, tokenizer_directory, tmp_path, cases):
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    lines = probe("structured", tokenizer_directory, tmp_path / "cases.json").split("\n")
    results = [json.loads(line) for line in lines if line]
    assert len(results) == len(cases)
    return results


def response_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


def test_random_logits_write_valid_documents_and_valid_documents_are_allowed(probe, tokenizer_directory, tmp_path):
    cases, wrong = [], []
    for seed in range(250):
        generator = random.Random(seed)
        schema = random_schema(generator)
        jsonschema.Draft202012Validator.check_schema(schema)
        right = [random_document(generator, schema) for _ in range(6)]
        wrong.append([damaged(generator, document) for document in right for _ in range(3)])
        # Literals of an enum or a const stand as they are; so does all else that is compact.
        texts = [json.dumps(document, ensure_ascii=index % 2 == 0, separators=(",", ":")) for index, document in enumerate(right)]
        cases.append({"response_format": response_format(schema), "seed": seed,
                      "documents": texts + [json.dumps(document, separators=(",", ":")) for document in wrong[-1]]})
    finished = 0
    for case, mistakes, result in zip(cases, wrong, run(probe, tokenizer_directory, tmp_path, cases)):
        schema = case["response_format"]["json_schema"]["schema"]
        validator = jsonschema.Draft202012Validator(schema)
        assert "error" not in result, (result, schema)
        if result["finished"]:
            finished += 1
            document = json.loads(result["text"], object_pairs_hook=without_repetition)
            validator.validate(document)
        # A model that wants nothing but to end writes a valid document, and none that is known is shorter.
        assert result["shortest"] is not None, schema
        validator.validate(json.loads(result["shortest"], object_pairs_hook=without_repetition))
        known = [text for text, allowed in zip(case["documents"], result["accepted"]) if allowed]
        assert all(len(result["shortest"].encode()) <= len(text.encode()) for text in known), (result["shortest"], schema)
        for text, allowed in zip(case["documents"], result["accepted"]):
            document = json.loads(text)
            assert not allowed or validator.is_valid(document), f"allowed by mistake: {text} under {schema}"
        for text in (text for text, allowed in zip(case["documents"][:6], result["accepted"]) if not allowed):
            assert literal_spelling_differs(text, schema), f"not allowed: {text} under {schema}"
    assert finished > 240


def without_repetition(pairs):
    assert len({key for key, _ in pairs}) == len(pairs), f"a key comes twice: {pairs}"
    return dict(pairs)


def literal_spelling_differs(text, schema):
    """Constants and property names have one spelling in the constraint, without \\u escapes."""
    return "\\u" in text and json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")) != text


def test_any_object_is_an_object(probe, tokenizer_directory, tmp_path):
    generator = random.Random(7)
    documents = [{"a": [1, {"b": None}], "c d": "é", "e": {}}, {}, {"n": [[], [[-1.5e-7, True]]]}]
    texts = [json.dumps(document, separators=separators) for document in documents for separators in ((",", ":"), (", ", ": "))]
    cases = [{"response_format": {"type": "json_object"}, "seed": generator.randrange(1 << 30), "documents": texts} for _ in range(100)]
    finished = 0
    for result in run(probe, tokenizer_directory, tmp_path, cases):
        assert all(result["accepted"])
        if result["finished"]:
            finished += 1
            assert isinstance(json.loads(result["text"], object_pairs_hook=without_repetition), dict)
    assert finished > 90


def test_a_schema_that_pydantic_writes(probe, tokenizer_directory, tmp_path):
    # As `openai.pydantic_function_tool` and `response_format=Model` send them.
    schema = {
        "$defs": {"Colour": {"enum": ["red", "green"], "title": "Colour", "type": "string"},
                  "Part": {"properties": {"name": {"title": "Name", "type": "string"},
                                          "colour": {"anyOf": [{"$ref": "#/$defs/Colour"}, {"type": "null"}], "default": None},
                                          "parts": {"items": {"$ref": "#/$defs/Part"}, "title": "Parts", "type": "array"}},
                           "required": ["name", "colour", "parts"], "title": "Part", "type": "object", "additionalProperties": False}},
        "$ref": "#/$defs/Part"}
    right = {"name": "table", "colour": "red", "parts": [{"name": "leg", "colour": None, "parts": []}]}
    wrong = {"name": "table", "colour": "blue", "parts": []}
    case = {"response_format": response_format(schema), "seed": 3, "documents": [json.dumps(right), json.dumps(wrong)]}
    results = run(probe, tokenizer_directory, tmp_path, [{**case, "seed": seed} for seed in range(20)])
    for result in results:
        assert result["accepted"] == [True, False]
        if result["finished"]:
            jsonschema.validate(json.loads(result["text"]), schema)
    assert any(result["finished"] for result in results)


#: Regular expressions that Python and ECMA-262 read alike.
EXPRESSIONS = [
    "(?:25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})(?:[.](?:25[0-5]|1?[0-9]{1,2})){3}", "[A-Z]{2}-[0-9]{3,5}", "(yes|no|maybe)( please)?[.!]",
    "a*b+c?|[^a-y ]{2,4}", "(ab|a)(bc|c)*", "[\\w.+-]+@(?:[a-z0-9]+[.])+[a-z]{2,}", "\\d+(?:[.]\\d*)?(?:e[+-]?\\d+)?", "(?:[^\"\\n]|\"\")*",
    "[äöüß名]+(?: \\u540d)?", "(?:x{2}){1,3}y{0,2}", "(?:a|b)*abb", "[+-]?(?:0|[1-9][0-9]*)", "\\s?\\S+\\s?",
]


def test_answers_match_a_regular_expression_and_matches_are_allowed(probe, tokenizer_directory, tmp_path):
    def cases(documents):
        return [{"regex": expression, "seed": seed, "documents": documents[expression]} for expression in EXPRESSIONS for seed in range(4)]

    first = run(probe, tokenizer_directory, tmp_path, cases({expression: [] for expression in EXPRESSIONS}))
    generator = random.Random(5)
    texts = {expression: [result["text"] for result in first[index * 4:index * 4 + 4]] for index, expression in enumerate(EXPRESSIONS)}
    for expression, found in texts.items():
        # With a change somewhere, and those of the other expressions.
        for text in list(found):
            place = generator.randrange(len(text) + 1)
            found += [text[:place] + text[place + 1:], text[:place] + generator.choice("a0.b é\n-") + text[place:], text[:place]]
    documents = {expression: texts[expression] + [text for other in EXPRESSIONS for text in texts[other][:2]] for expression in EXPRESSIONS}
    allowed = 0
    for case, result in zip(cases(documents), run(probe, tokenizer_directory, tmp_path, cases(documents))):
        flags = 0 if "S" in case["regex"] else re.ASCII
        matches = lambda text: re.fullmatch(case["regex"], text, flags) is not None  # noqa: E731
        assert not result["finished"] or matches(result["text"]), (case["regex"], result["text"])
        assert matches(result["shortest"]), (case["regex"], result["shortest"])
        assert result["accepted"] == [matches(text) for text in case["documents"]], case["regex"]
        allowed += sum(result["accepted"])
    assert allowed > 300


def test_answers_are_choices_or_follow_a_grammar(probe, tokenizer_directory, tmp_path):
    choices = ["yes", "yes, please", "no", "名字"]
    arithmetic = '''root ::= sum
sum ::= product ([-+] product)*
product ::= value ([*] value)*
value ::= [1-9] [0-9]{0,2} | "(" sum ")"'''
    documents = ["1+2", "(1+2)*3", "((1))", "1+", "(1", "01", "1*(2-3)", "1)"]
    results = run(probe, tokenizer_directory, tmp_path, [
        *[{"choice": choices, "seed": seed, "documents": ["yes", "ye"]} for seed in range(10)],
        *[{"grammar": arithmetic, "seed": seed, "documents": documents} for seed in range(30)]])
    for result in results[:10]:
        assert result["finished"] and result["text"] in choices and result["accepted"] == [True, False]
    for result in results[10:]:
        assert result["accepted"] == [True, True, True, False, False, False, True, False]
        if result["finished"]:
            eval(result["text"])  # Python reads it, too.
    assert sum(result["finished"] for result in results[10:]) > 5
