import Generation
import Serving
import Storage
import Testing
import Tokenization

/// Conversations as clients send them, and what the model reads.
@Suite struct ConversationPromptTests {
  private func prompt(_ messages: String) throws -> String {
    let body = Array("{\"messages\": [\(messages)]}".utf8)
    let call = try GenerationCall(
      chat: RequestFields(body: body), TextInputReader(tokenizer: ServingSupport.tokenizer, contextLength: 512),
      .success(ChatTemplate()), ServingSupport.vocabulary)
    return ServingSupport.tokenizer.decode(call.prompts[0].tokens)
  }

  @Test(
    "instructions after other messages are part of what a user says",
    arguments: [
      (#"{"role":"user","content":"a"},{"role":"system","content":"S"}"#, "<s>user\na\nS</s>\n<s>assistant\n"),
      (#"{"role":"system","content":"S"}"#, "<s>user\nS</s>\n<s>assistant\n"),
      (
        #"{"role":"system","content":"S"},{"role":"developer","content":"T"},{"role":"user","content":"a"}"#,
        "S\nT<s>user\na</s>\n<s>assistant\n"
      ),
      (
        #"{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"system","content":"S"},"#
          + #"{"role":"system","content":"T"},{"role":"user","content":"c"}"#,
        "<s>user\na</s>\n<s>assistant\nb</s>\n<s>user\nS\nT\nc</s>\n<s>assistant\n"
      ),
      (
        #"{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#,
        "<s>user\na\nb</s>\n<s>assistant\n"
      ),
    ])
  func instructions(messages: String, expected: String) throws { #expect(try prompt(messages) == expected) }

  @Test("the arguments of an earlier call may be an object")
  func arguments() throws {
    let call = #"{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":{"x":1}}}]}"#
    let text = try prompt(#"{"role":"user","content":"a"},\#(call)"#)
    #expect(text.contains(#"{"name": "f", "arguments": {"x":1}}"#))
  }

  @Test("as few of the oldest turns are left out as it takes; instructions and the last turn stay", arguments: 1...12)
  func turns(fitting: Int) throws {
    func message(_ role: String, _ number: Int) -> JSON {
      .object([.init("role", .string(role)), .init("content", .integer(number))])
    }
    var list = [message("system", 0)]
    for number in 1...5 { list += [message("user", number), message("assistant", number)] }
    list.append(message("user", 6))
    var turns = ConversationTurns(list)
    let kept = try turns.shorten { list throws(APIError) -> [JSON]? in list.count <= fitting ? list : nil }
    if fitting < 2 {
      #expect(kept == nil && turns.shortest() == [list[0], list[11]] && turns.droppedMessages == 10)
    } else {
      // At least one turn goes, as the whole did not fit.
      let rest = min(fitting, 10) / 2 * 2
      #expect(kept == [list[0]] + list.suffix(rest - 1) && turns.droppedMessages == 12 - rest)
    }
  }
}
