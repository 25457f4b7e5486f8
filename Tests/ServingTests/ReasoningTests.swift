import Generation
import Testing

@Suite struct ReasoningTests {
  static let cases: [(text: String, reasoning: String, answer: String)] = [
    ("Hello <think>no</think>", "", "Hello <think>no</think>"),
    ("<think>\n你好 </thin> </think>\n\n Yes.\n", "\n你好 </thin> ", "Yes.\n"),
    (" \n<think>a</think>", "a", ""), ("<think>cut </th", "cut </th", ""), ("<thi", "", "<thi"), ("", "", ""),
    (" <thinking>a", "", " <thinking>a"), ("<think></think><think>b</think>", "", "<think>b</think>"),
  ]

  @Test("after a prompt that ends in <think> the answer begins with reasoning")
  func openReasoning() {
    var splitter = ReasoningSplitter(isOpen: true)
    let first = splitter.push("a</th")
    let second = splitter.push("ink>\n\nb")
    #expect(first == ("a", "") && second == ("", "b"))
    var cut = ReasoningSplitter(isOpen: true)
    #expect(cut.push("<think>a") == ("<think>a", "") && cut.finish() == ("", ""))
  }

  @Test("reasoning is told from the answer however the text is cut", arguments: cases.indices)
  func splitting(index: Int) {
    let (text, reasoning, answer) = Self.cases[index]
    for length in 1...max(1, text.count) {
      var splitter = ReasoningSplitter()
      var found = (reasoning: "", answer: "")
      func add(_ piece: (reasoning: String, answer: String)) {
        found.reasoning += piece.reasoning
        found.answer += piece.answer
      }
      var rest = text[...]
      while !rest.isEmpty {
        add(splitter.push(String(rest.prefix(length))))
        rest = rest.dropFirst(length)
      }
      add(splitter.finish())
      #expect(found == (reasoning, answer), "\(text), \(length) at a time")
    }
  }
}
