import Generation
import StructuredOutput
import Testing
import Tokenization

@Suite("The budget of thinking") struct ThinkingBudgetTests {
  private let tokenizer = GeneratorTests.tokenizer

  private func written(
    budget: Int?, isOpen: Bool = true, seed: UInt64 = 1, constraint: (any TokenConstraint)? = nil
  ) throws -> GeneratorTests.Result {
    var request = GeneratorTests.request(sampling: GeneratorTests.sampling(seed: seed))
    request.ignoresEndTokens = true
    request.constraint = constraint
    request.thinking = try budget.map { try ThinkingBudget(maximumTokens: $0, isOpen: isOpen, tokenizer) }
    return GeneratorTests.Result(try Generator(try GeneratorTests.model(), tokenizer, request))
  }

  @Test("the reasoning ends when its tokens are spent, and the answer goes on", arguments: [0, 1, 7, 20], 1...5)
  func ends(budget: Int, seed: UInt64) throws {
    let free = try written(budget: nil, seed: seed)
    let bounded = try written(budget: budget, seed: seed)
    #expect(bounded.tokens.count == 40 && bounded.reason == .length)
    #expect(bounded.tokens.prefix(budget) == free.tokens.prefix(budget))
    let before = bounded.pieces.prefix(budget).joined()
    let closing = try tokenizer.encode((before.last?.isNewline ?? true ? "" : "\n") + "</think>\n\n")
    #expect(bounded.tokens.dropFirst(budget).starts(with: closing))
    var splitter = ReasoningSplitter(isOpen: true)
    let parts = splitter.push(bounded.text)
    #expect(!splitter.isReasoning && !parts.answer.isEmpty)
  }

  @Test("a budget that is not spent, and an answer without reasoning, change nothing", arguments: [true, false])
  func unspent(isOpen: Bool) throws {
    #expect(try written(budget: isOpen ? 40 : 0, isOpen: isOpen) == written(budget: nil))
  }

  @Test("reasoning that the answer begins itself is counted from after its tag")
  func ownTag() throws {
    let opening = try tokenizer.encode("<think>")
    let result = try written(budget: 3, isOpen: false, constraint: Script(opening, tokenizer.vocabularySize))
    let closings = ["\n</think>\n\n", "</think>\n\n"].map { try! tokenizer.encode($0) }
    #expect(result.tokens.starts(with: opening))
    #expect(closings.contains { result.tokens.dropFirst(opening.count + 3).starts(with: $0) })
  }

  @Test("what the answer must be comes before the end of the reasoning")
  func constrained() throws {
    let script = try tokenizer.encode("a question and an answer")
    let result = try written(budget: 0, constraint: Script(script, tokenizer.vocabularySize))
    #expect(result.tokens.starts(with: script) && !result.text.contains("</think>"))
  }

  @Test("whether a text ends within reasoning")
  func openText() {
    #expect(ThinkingBudget.isOpen(atEndOf: "<think>a</think>b<think>\n"))
    #expect(!ThinkingBudget.isOpen(atEndOf: "<think>a</think>"))
    #expect(!ThinkingBudget.isOpen(atEndOf: "a"))
  }
}

/// These tokens first, and then any.
private struct Script: TokenConstraint {
  private let tokens: [Int32]
  private let vocabularySize: Int
  private var place = 0

  init(_ tokens: [Int32], _ vocabularySize: Int) {
    self.tokens = tokens
    self.vocabularySize = vocabularySize
  }

  func allowedTokens() -> TokenSet {
    var set = TokenSet(vocabularySize: vocabularySize)
    let allowed = place < tokens.count ? [tokens[place]] : Array(0..<Int32(vocabularySize))
    for token in allowed { set.insert(token) }
    return set
  }

  mutating func accept(_ token: Int32) { place += 1 }
}
