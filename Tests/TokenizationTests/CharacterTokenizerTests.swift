import Foundation
import Storage
import Templates
import TestSupport
import Testing
import Tokenization

/// Tokenizers whose tokens spell characters, and split patterns: what needs no other library.
struct CharacterTokenizerTests {
  /// Llama 2's pipeline, with 256 bytes and a few characters.
  ///
  /// - Parameter addedTokens: further ones, from number 265 on.
  static func tokenizer(addedTokens: String = "") throws -> Tokenizer {
    let names =
      ["<unk>", "<s>", "</s>"] + (0..<256).map { String(format: "<0x%02X>", $0) } + ["▁", "a", "b", "ab", "▁ab", "é"]
    let vocabulary = names.enumerated().map { "\(JSON.quoted($1)): \($0)" }.joined(separator: ",")
    let file = """
      {"added_tokens": [
        {"id": 1, "content": "<s>", "special": true}, {"id": 2, "content": "</s>", "special": true}\(addedTokens)],
      "normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
      "pre_tokenizer": null,
      "decoder": {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
      "model": {"type": "BPE", "byte_fallback": true, "vocab": {\(vocabulary)}, "merges": ["a b", "▁ ab"]}}
      """
    return try withTemporaryDirectory { directory in
      try file.write(toFile: directory + "/tokenizer.json", atomically: true, encoding: .utf8)
      return try Tokenizer(directory: directory)
    }
  }

  @Test("tokens for bytes are read together, and the first space is the tokenizer's own")
  func streaming() throws {
    let tokenizer = try Self.tokenizer()
    let ids = try tokenizer.encode("ab 🙂é ab")
    let smile: [Int32] = [0xF0, 0x9F, 0x99, 0x82]
    #expect(ids == [263, 259] + smile.map { 3 + $0 } + [264, 263])
    var decoder = StreamingDecoder(tokenizer)
    #expect(ids.map { decoder.push($0) } == ["ab", " ", "", "", "", "", "🙂é", " ab"])
    #expect(decoder.finish() == "")
    // A byte that does not fit makes all of its neighbours unreadable, as in `tokenizers`.
    decoder = StreamingDecoder(tokenizer)
    let broken: [Int32] = [3 + 0xC3, 3 + 0xA9, 3 + 0xFF]
    #expect(broken.map { decoder.push($0) } == ["", "", ""])
    #expect(decoder.finish() == "\u{FFFD}\u{FFFD}\u{FFFD}")
    #expect(try tokenizer.encode("<s>ab") == [1, 263])
  }

  @Test("what a user typed becomes no added token where these are found in normalized text")
  func contents() throws {
    let tokenizer = try Self.tokenizer(
      addedTokens: #", {"id": 265, "content": "b a", "special": false, "normalized": true}"#)
    let own = RenderedText.Piece(text: " b a", isContent: false)
    let typed = RenderedText.Piece(text: " b a", isContent: true)
    #expect(try tokenizer.encode([own, typed, own]) == [259, 265, 259, 261, 259, 260, 265])
    #expect(try tokenizer.encode(" b a b a b a") == [259, 265, 265, 265])
  }

  @Test("decoding gives back any text, whole or token by token", arguments: 0..<50 as Range<UInt64>)
  func roundTrip(seed: UInt64) throws {
    let tokenizer = try Self.tokenizer()
    var generator = SeededGenerator(seed: seed)
    let text = String(
      decoding: TokenizerTests.randomBytes(Int.random(in: 0...40, using: &generator), using: &generator), as: UTF8.self)
    let ids = try tokenizer.encode(text, specialTokens: .asText)
    #expect(Array(tokenizer.decode(ids).utf8) == Array(text.replacing("▁", with: " ").utf8))
    var decoder = StreamingDecoder(tokenizer)
    #expect(ids.map { decoder.push($0) }.joined() + decoder.finish() == tokenizer.decode(ids))
  }

  @Test("a new tokenizer may have another model's pattern", arguments: LearnedSplit.allCases)
  func learnedSplit(split: LearnedSplit) throws {
    var trainer = try TokenizerTrainer(vocabularySize: 400, threads: 2, split: split)
    for _ in 0..<9 { try trainer.add(document: "In 2024 and 2025 we've seen 12345678 rivers.\n\nWE'VE SEEN THEM.") }
    let tokenizer = try trainer.train()
    #expect(tokenizer.split == split && tokenizer.mergesMakeAllTokens)
    let longest = try tokenizer.encode(" 12345678").map { tokenizer.bytes(of: $0).count }.max()
    #expect(longest == [.gpt2: 9, .qwen2: 1, .llama3: 3][split])
    try withTemporaryDirectory { directory in
      try tokenizer.save(to: directory)
      let copy = try Tokenizer(directory: directory)
      #expect(copy.contentHash == tokenizer.contentHash && copy.split == split)
    }
  }
}
