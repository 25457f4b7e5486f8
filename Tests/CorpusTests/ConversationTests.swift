import TestSupport
import Testing

import Corpus

private let oneTurn = "<s>user\nWho?</s>\n<s>assistant\n[Me.</s>]"
private let twoTurns = "<s>user\nHi</s>\n<s>assistant\n[Hello!</s>]\n<s>user\nWho?</s>\n<s>assistant\n[Me.</s>]"

@Suite("Reading conversations")
struct ConversationTests {
  @Test(
    "single turns under every pair of names",
    arguments: [
      #"{"q": "Who?", "a": "Me."}"#,
      #"{"instruction": "Who?", "input": "", "output": "Me."}"#,
      #"{"instruction": "Who?", "output": "Me.", "history": []}"#,
      #"{"prompt": "Who?", "completion": "Me.", "history": null}"#,
      #"{"question": "Who?", "answer": "Me.", "id": 7}"#,
    ])
  func singleTurns(_ row: String) throws {
    #expect(try prepared(row, task: sft()).marked == [oneTurn])
  }

  @Test("an input is joined to its instruction by a newline, and a system message stands first, raw")
  func inputAndSystem() throws {
    let row = #"{"instruction": "Add.", "input": "1 1", "output": "2", "system": "Count."}"#
    #expect(try prepared(row, task: sft()).marked == ["Count.<s>user\nAdd.\n1 1</s>\n<s>assistant\n[2</s>]"])
  }

  @Test(
    "a system message stands first, in the list or beside it; beside it, only where the list has none",
    arguments: [
      #"{"system": "Count.", "conversations": [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Me."}]}"#,
      #"""
      {"system": "Count.", "messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]}
      """#,
      #"""
      {"system": "Guess.", "messages": [{"role": "system", "content": "Count."}, {"role": "user", "content": "Who?"},
      {"role": "assistant", "content": "Me."}]}
      """#,
    ])
  func systemOfList(_ row: String) throws {
    #expect(try prepared(row, "a.json", task: sft()).marked == ["Count." + oneTurn])
  }

  @Test(
    "earlier turns: a JSON history, a Python list in JSON, OpenAI messages, ShareGPT conversations",
    arguments: [
      #"{"q": "Who?", "a": "Me.", "history": [["Hi", "Hello!"]]}"#,
      #"{"q": "Who?", "a": "Me.", "history": "[['Hi', 'Hello!']]"}"#,
      #"""
      {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"},
      {"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Me."}]}
      """#,
      #"""
      {"id": "x", "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello!"},
      {"from": "human", "value": "Who?"}, {"from": "gpt", "value": "Me."}]}
      """#,
      // A list that is written in a text, as JSON and as Python prints it.
      #"""
      {"messages": "[{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"Hello!\"}, \#
      {\"role\": \"user\", \"content\": \"Who?\"}, {\"role\": \"assistant\", \"content\": \"Me.\"}]"}
      """#,
      #"""
      {"conversations": "[{'from': 'human', 'value': 'Hi'}, {'from': 'gpt', 'value': \"Hello!\", 'loss': True, 'n': -1.5}, \#
      {'from': 'human', 'value': 'Who?'}, {'from': 'gpt', 'value': 'Me.', 'weight': 1, 'x': None}]"}
      """#,
    ])
  func multipleTurns(_ row: String) throws {
    #expect(try prepared(row, "a.json", task: sft()).marked == [twoTurns])
  }

  @Test("a prompt and a completion that are written in texts: only the completion is learned")
  func writtenPrompt() throws {
    let row = #"""
      {"prompt": "[{'role': 'user', 'content': 'Hi'}, {'role': 'assistant', 'content': 'Hello!', 'weight': 1}, \#
      {'role': 'user', 'content': 'Who?'}]", "completion": "[{'role': 'assistant', 'content': 'Me.'}]"}
      """#
    #expect(
      try prepared(row, "a.json", task: sft()).marked == [
        "<s>user\nHi</s>\n<s>assistant\nHello!</s>\n<s>user\nWho?</s>\n<s>assistant\n[Me.</s>]"
      ])
  }

  @Test("v1's CSV: history is a Python list literal in a field")
  func csv() throws {
    let content = """
      history,q,a
      [],Who?,Me.
      ,Who?,Me.
      "[['Hi', ""Hello!""]]",Who?,Me.
      "[['It\\'s\\n', ""say 'x', \\u4f60""], ('b', 'c')]",Who?,"Me,
      too."

      """
    #expect(
      try prepared(content, "sft.csv", task: sft()).marked == [
        oneTurn, oneTurn, twoTurns,
        "<s>user\nIt's\n</s>\n<s>assistant\n[say 'x', 你</s>]\n<s>user\nb</s>\n<s>assistant\n[c</s>]\n"
          + "<s>user\nWho?</s>\n<s>assistant\n[Me,\ntoo.</s>]",
      ])
  }

  @Test("a last question without an answer is left out of the conversation")
  func openQuestion() throws {
    let row = jsonRow([
      "messages": [
        ["role": "user", "content": "Who?"], ["role": "assistant", "content": "Me."],
        ["role": "user", "content": "And?"],
      ]
    ])
    #expect(try prepared(row, task: sft()).marked == [oneTurn])
  }

  @Test(
    "a broken row is told with place, keys found and keys expected",
    arguments: [
      (
        #"{"text": "a"}"#,
        #"there is no question in it: "q" and "a", "instruction" and "output", "messages" or "conversations" are expected, found "text", as in: {"q": "Who are you?", "a": "I am MiniMind."}"#
      ),
      (#"{"q": "a", "answer": "b"}"#, #"there is "q" but no "a", as in: {"q": "Who are you?", "a": "I am MiniMind."}"#),
      (#"{"q": "a", "a": 3}"#, #""a" holds a number, a text is expected"#),
      (
        #"{"q": "a", "a": "b", "history": [["x"]]}"#,
        #"element 1 of "history" is no pair of texts, [question, answer] is expected"#
      ),
      (
        #"{"q": "a", "a": "b", "history": {"x": 1}}"#,
        #""history" holds an object, a list of [question, answer] pairs is expected"#
      ),
      (
        #"{"q": "a", "a": "b", "history": "['x'"}"#,
        #""history": a comma or a closing bracket is missing at byte 5 of the Python literal"#
      ),
      (
        #"{"q": "a", "a": "b", "history": "[['x', 'y'], ('z', None)]"}"#,
        #"element 2 of "history" is no pair of texts, [question, answer] is expected"#
      ),
      (#"{"messages": "x"}"#, #""messages" holds a string, a list of messages is expected"#),
      (#"{"messages": []}"#, "there is no answer in the conversation"),
      (#"{"messages": [{"role": "user", "content": "x"}]}"#, "there is no answer in the conversation"),
      (
        #"{"messages": [{"role": "robot", "content": "x"}]}"#,
        #"message 1 is of "robot"; system, user and assistant are understood"#
      ),
      (#"{"messages": [{"content": "x"}]}"#, #"message 1 has no "role" (or "from") with a text"#),
      (
        #"{"messages": [{"role": "user", "content": {"x": 1}}]}"#,
        #"message 1 has no "content" (or "value") with a text"#
      ),
      (
        #"{"messages": [{"role": "assistant", "content": "x"}]}"#,
        "message 1 is of the assistant, the user is expected: after an optional system message, user and assistant take turns"
      ),
      (
        #"["q", "a"]"#,
        #"the row is a list, an object is expected, as in: {"q": "Who are you?", "a": "I am MiniMind."}"#
      ),
      (#"{"q": "a", "#, "broken JSON: braces, brackets, quotes or commas do not match"),
    ])
  func brokenRows(_ row: String, _ reason: String) throws {
    let data = try prepared(#"{"q": "Who?", "a": "Me."}"# + "\n" + row + "\n", task: sft())
    #expect(data.marked == [oneTurn] && data.manifest.rowsBroken == 1)
    let message = data.manifest.brokenRows.first ?? ""
    #expect(message.hasSuffix("data.jsonl:2: \(reason)"), "\(message)")
  }

  @Test("plain text is refused for conversations")
  func plainText() throws {
    let message = failure { try prepared("Who?\nMe.\n", "a.txt", task: sft()) }
    #expect(message.contains("a.txt is plain text, which holds no questions and answers."))
  }
}
