import TestSupport
import Testing

import Corpus

private let oneTurn = "<s>user\nWho?</s>\n<s>assistant\n[Me.</s>]"

private func message(_ role: String, _ content: Any, _ more: [String: Any] = [:]) -> [String: Any] {
  ["role": role, "content": content].merging(more) { $1 }
}

private func chat(_ messages: [[String: Any]], _ more: [String: Any] = [:]) -> String {
  jsonRow(["messages": messages].merging(more) { $1 })
}

/// Rows as data sets, trainers and other programs write them.
@Suite("Forms of rows")
struct RowFormTests {
  @Test(
    "null and empty columns of joined data sets are as good as absent",
    arguments: [
      #"{"messages": null, "conversations": null, "instruction": "Who?", "input": null, "output": "Me."}"#,
      #"{"messages": [], "q": null, "a": null, "prompt": "Who?", "completion": "Me.", "history": null}"#,
      #"{"q": "", "a": "", "instruction": "Who?", "output": "Me.", "system": null}"#,
      #"{"q": NaN, "a": NaN, "question": "Who?", "answer": "Me."}"#,
      #"{"instruction": "", "input": "Who?", "output": "Me."}"#,
      #"{"messages": null, "conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Me."}]}"#,
      #"""
      {"messages": [{"role": "user", "content": "Who?", "weight": null, "tool_calls": null, "name": null},
      {"role": "assistant", "content": "Me.", "reasoning_content": null, "tool_calls": [], "thinking": ""}]}
      """#,
    ])
  func nullColumns(_ row: String) throws {
    let data = try prepared(row, "a.json", task: sft())
    #expect(data.marked == [oneTurn] && data.manifest.unusedFields == [])
  }

  @Test("empty fields of joined CSV tables are as good as absent")
  func emptyCSVFields() throws {
    let table = "q,a,instruction,output,text\nWho?,Me.,,,\n,,Who?,Me.,\n"
    #expect(try prepared(table, "a.csv", task: sft()).marked == [oneTurn, oneTurn])
  }

  @Test(
    "an answer that is marked as not to be learned is context",
    arguments: [
      ("weight", "0", "1"), ("loss", "false", "true"), ("train", "false", "null"), ("mask", "true", "false"),
      ("masked", "true", "false"), ("loss_mask", "0.0", "1.0"),
    ])
  func marks(name: String, no: String, yes: String) throws {
    let row = #"""
      {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho", "\#(name)": \#(no)},
      {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me.", "\#(name)": \#(yes)}]}
      """#
    let data = try prepared(row, "a.json", task: sft())
    #expect(data.marked == ["<s>user\nHi</s>\n<s>assistant\nHo</s>\n" + oneTurn])
    // What comes after the last answer to learn is context for nothing.
    let turned = row.replacing("\"Ho\", \"\(name)\": \(no)", with: "\"Ho\"")
      .replacing("\"Me.\", \"\(name)\": \(yes)", with: "\"Me.\", \"\(name)\": \(no)")
    #expect(try prepared(turned, "a.json", task: sft()).marked == ["<s>user\nHi</s>\n<s>assistant\n[Ho</s>]"])
    let twice = turned + row
    #expect(
      try prepared(twice, "a.json", task: sft { $0.trainsLastTurnOnly = true }).manifest.rowsDropped == [
        "no-trained-answer": 1
      ])
  }

  @Test("a mark on a question is named, as questions are never learned")
  func markOnQuestion() throws {
    let row = chat([message("user", "Who?", ["train": true]), message("assistant", "Me.", ["train": true])])
    let data = try prepared(row, task: sft())
    #expect(data.marked == [oneTurn])
    #expect(data.manifest.unusedFields?.map(\.name) == ["messages[].mark to train on the user"])
  }

  @Test(
    "reasoning in a field of its own becomes <think>, as MiniMind's template has it",
    arguments: [
      chat([message("user", "Who?"), message("assistant", "Me.", ["reasoning_content": "\nI?\n"])]),
      chat([message("user", "Who?"), message("assistant", "\nMe.", ["thinking": "I?"])]),
      chat([
        message("user", "Who?"),
        message("assistant", [["type": "thinking", "thinking": "I?"], ["type": "text", "text": "Me."]]),
      ]),
      jsonRow(["question": "Who?", "reasoning": "I?", "answer": "Me."]),
      jsonRow(["Question": "Who?", "Complex_CoT": "I?", "Response": "Me."]),
    ])
  func reasoning(_ row: String) throws {
    let data = try prepared(row, task: sft())
    #expect(data.marked == ["<s>user\nWho?</s>\n<s>assistant\n[<think>\nI?\n</think>\n\nMe.</s>]"])
    #expect(data.manifest.unusedFields == [])
  }

  @Test("calls and results of tools are dropped and counted, and tools that a row offers are named")
  func tools() throws {
    let rows =
      chat([message("user", "Who?"), message("assistant", "Me.")], ["tools": [["type": "function"]]])
      + chat([message("user", "1+1?"), message("assistant", "", ["tool_calls": [["id": "x"]]]), message("tool", "2")])
      + chat([message("user", "1+1?"), message("assistant", "2", ["function_call": ["name": "add"]])])
      + jsonRow([
        "conversations": [
          ["from": "human", "value": "1+1?"], ["from": "function_call", "value": "add"],
          ["from": "observation", "value": "2"], ["from": "gpt", "value": "2"],
        ]
      ])
    let data = try prepared(rows, task: sft())
    #expect(data.marked == [oneTurn] && data.manifest.rowsDropped == ["tool-turns": 3])
    let field = try #require(data.manifest.unusedFields?.first)
    #expect(field.name == "tools" && field.rows == 1 && field.example.hasSuffix("data.jsonl:1: a list"))
  }

  @Test("content may be a list of texts and parts")
  func parts() throws {
    let row = chat([
      message("user", [["type": "text", "text": "Wh"], ["type": "text", "text": "o?"]]),
      message("assistant", ["Me", "."]),
    ])
    #expect(try prepared(row, task: sft()).marked == [oneTurn])
  }

  @Test("prompt and completion as messages: the completion is learned")
  func conversationalCompletion() throws {
    let prompt = [message("user", "Hi"), message("assistant", "Ho"), message("user", "Who?")]
    let expected = ["<s>user\nHi</s>\n<s>assistant\nHo</s>\n" + oneTurn]
    for completion in [[message("assistant", "Me.")], message("assistant", "Me."), "Me."] as [Any] {
      #expect(try prepared(jsonRow(["prompt": prompt, "completion": completion]), task: sft()).marked == expected)
    }
    let system = [message("system", "Count."), message("user", "Who?")]
    let row = jsonRow(["prompt": system, "completion": [message("assistant", "Me.")]])
    #expect(try prepared(row, task: sft()).marked == ["Count." + oneTurn])
  }

  @Test("an answer before the first question is left out and counted")
  func openingAnswer() throws {
    let turns = [
      ["from": "gpt", "value": "Hi"], ["from": "human", "value": "Who?"], ["from": "gpt", "value": "Me."],
    ]
    let data = try prepared(
      jsonRow(["conversations": turns]) + jsonRow(["conversations": [["from": "system", "value": "Count."]] + turns]),
      task: sft())
    #expect(data.marked == [oneTurn, "Count." + oneTurn])
    #expect(data.manifest.rowsChanged == ["opening-answer-removed": 2])
  }

  @Test("what Python writes and no JSON standard knows, in fields that nothing reads, loses no row")
  func unreadNumbers() throws {
    let values = [
      "123456789012345678901", "-123456789012345678901", "1e999", "NaN", "[Infinity, -Infinity]",
      "18446744073709551616",
    ]
    let rows = values.map { #"{"q": "Who?", "id": \#($0), "a": "Me.", "note": "NaN \"1e999\" \\"}"# + "\n" }
    let data = try prepared(rows.joined(), task: sft())
    #expect(data.marked == values.map { _ in oneTurn } && data.manifest.rowsBroken == 0)
    for broken in ["01", "1.", "+1", "NaNs", "tru", "--1", "1e"] {
      let data = try prepared(rows[0] + #"{"q": "Who?", "id": \#(broken), "a": "Me."}"#, task: sft())
      #expect(data.manifest.rowsBroken == 1, "\(broken)")
    }
  }

  @Test("half characters become U+FFFD and are counted; pairs of halves are one character")
  func surrogates() throws {
    let rows = [
      #"{"text": "a\ud83dz"}"#, #"{"text": "a\ude00z"}"#, #"{"text": "a\ud83d\ude00z"}"#,
      #"{"text": "a\\ud83dz", "n": NaN}"#,
    ]
    let data = try prepared(rows.joined(separator: "\n"), task: pretrain())
    #expect(data.marked == ["<s>[a\u{FFFD}z</s>]", "<s>[a\u{FFFD}z</s>]", "<s>[a😀z</s>]", "<s>[a\\ud83dz</s>]"])
    #expect(data.manifest.rowsChanged == ["surrogates-replaced": 2])
  }

  @Test(
    "what cannot be followed is told with its message",
    arguments: [
      (
        chat([message("user", "Who?"), message("assistant", "Me.", ["weight": 0.5])]),
        #""weight" of message 2 is 0.5; 0 and 1, or true and false, are understood"#
      ),
      (
        chat([message("user", "Who?"), message("assistant", "Me.", ["mask": 1])]),
        #""mask" of message 2 is a number; true is expected for what is not to be learned, or "weight" with 0 or 1"#
      ),
      (
        chat([message("user", "Who?"), message("assistant", "Me.", ["train_detail": [["begin_offset": 0]]])]),
        #"message 2 has "train_detail", marks of parts of a message, which are not followed"#
      ),
      (
        chat([message("user", [["type": "image_url", "image_url": "x"]]), message("assistant", "Me.")]),
        #"message 1 has a part of type "image_url"; only text is trained on"#
      ),
      (
        chat([message("user", "Who?"), message("assistant", "<think>a</think>b", ["thinking": "c"])]),
        "message 2 has its reasoning twice: in a field and as <think> in the answer"
      ),
      (
        chat([message("user", "Who?"), message("assistant", "b", ["thinking": ["c"]])]),
        "the reasoning of message 2 is a list, a text is expected"
      ),
      (
        "{'q': 'Who?', 'a': 'Me.'}\n",
        "broken JSON: braces, brackets, quotes or commas do not match (Python's notation: write rows with json.dumps)"
      ),
    ])
  func refused(_ row: String, _ reason: String) throws {
    let data = try prepared(#"{"q": "Who?", "a": "Me."}"# + "\n" + row, task: sft())
    #expect(data.marked == [oneTurn] && data.manifest.rowsBroken == 1)
    let message = data.manifest.brokenRows.first ?? ""
    #expect(message.hasSuffix("2: \(reason)"), "\(message)")
  }

  @Test("what rows have and nothing reads is counted with its first example, the same for any number of threads")
  func unusedFields() throws {
    let rows = (0..<6000).map { number in
      jsonRow(["text": "the cat sat on \(number)", "id": number, "url": "x/\(number)", "none": "", "key\(number)": 1])
    }
    var found: [[DataManifest.UnusedField]] = []
    for threads in 1...3 {
      let manifest = try prepared(rows.joined(), task: pretrain()) {
        $0.heldOutFraction = 0
        $0.threads = threads
      }.manifest
      var fields = try #require(manifest.unusedFields)
      for index in fields.indices { fields[index].example.replace(#/^.*(?=data\.jsonl)/#, with: "") }
      found.append(fields)
    }
    #expect(found[0].map(\.name) == ["fields that few rows have", "id", "url"])
    #expect(found[0].allSatisfy { $0.rows == 6000 } && found[0].last?.example == #"data.jsonl:1: "x/0""#)
    #expect(found[0] == found[1] && found[0] == found[2])
  }

  /// A row of about so many pieces, for each reader and encoder.
  private static let growingRows:
    [(name: String, file: String, task: @Sendable () -> DataPreparation.Task, row: @Sendable (Int) -> String)] = [
      (
        "history", "a.jsonl", { sft() },
        { jsonRow(["q": "Who?", "a": "Me.", "history": [[String]](repeating: ["Hi", "Ho"], count: $0)]) }
      ),
      (
        "messages", "a.jsonl", { sft() },
        { chat((0..<$0).flatMap { _ in [message("user", "Hi"), message("assistant", "Ho")] }) }
      ),
      (
        "parts", "a.jsonl", { sft() },
        { chat([message("user", "Hi"), message("assistant", [String](repeating: "Ho ", count: $0))]) }
      ),
      (
        "keys", "a.jsonl", { sft() },
        { count in jsonRow(["q": "Who?", "a": "Me."].merging((0..<count).map { ("key\($0)", "x") }) { $1 }) }
      ),
      (
        "Python list", "a.csv", { sft() },
        { #""[\#([String](repeating: "['Hi', 'Ho']", count: $0).joined(separator: ", "))]",Who?,Me."# + "\n" }
      ),
      (
        "pair", "a.jsonl", { dpo(maximumTokens: 1 << 22) },
        { count in
          let turns =
            (0..<count).flatMap { _ in [message("user", "Hi"), message("assistant", "Ho")] } + [message("user", "Hi")]
          return jsonRow([
            "chosen": turns + [message("assistant", "a")], "rejected": turns + [message("assistant", "b")],
          ])
        }
      ),
      (
        "text", "a.jsonl", { pretrain { $0.nearDuplicates = 0.8 } },
        { count in jsonRow(["text": (0..<count).map { "word\($0)" }.joined(separator: " ")]) }
      ),
      ("letters", "a.jsonl", { pretrain() }, { jsonRow(["text": String(repeating: "ab1文", count: $0)]) }),
    ]

  @Test("a row costs as much for each of its pieces however many it has", arguments: growingRows.indices)
  func cost(_ index: Int) throws {
    let (name, file, task, row) = Self.growingRows[index]
    let pieces = 16_000
    func seconds(_ count: Int) throws -> Double {
      let content = (file == "a.csv" ? "history,q,a\n" : "") + String(repeating: row(count), count: pieces / count)
      return try withTemporaryDirectory { directory in
        let path = try write(content, file, in: directory)
        let start = ContinuousClock.now
        _ = try prepared([path], to: directory + "/out", task: task())
        return (ContinuousClock.now - start) / .seconds(1)
      }
    }
    _ = try seconds(500)
    // As many pieces in all: with a cost that grows with the square the long row would take 32 times as long.
    let ratios = try (0..<3).map { _ in try seconds(pieces) / seconds(500) }
    #expect(ratios.min()! < 10, "\(name): \(ratios)")
  }
}
