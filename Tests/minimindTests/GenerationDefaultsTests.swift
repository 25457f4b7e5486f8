import Foundation
import Generation
import ModelFiles
import Testing
import minimind

@Suite struct GenerationDefaultsTests {
  static func read(_ json: String) throws -> GenerationConfiguration {
    let path = FileManager.default.temporaryDirectory.path + "/minimind-generation-\(UUID().uuidString).json"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(json.utf8).write(to: URL(fileURLWithPath: path))
    return try GenerationConfiguration(path: path)
  }

  static func sampling(_ json: String) throws -> SamplingSettings { GenerationDefaults(try read(json)).sampling }

  @Test(
    "a file that says nothing of sampling leaves MiniMind's, one that says something has transformers' for the rest")
  func defaults() throws {
    #expect(
      try Self.sampling(#"{"bos_token_id": 1, "eos_token_id": [2, 5], "transformers_version": "5"}"#)
        == SamplingSettings())
    let llama = try Self.sampling(#"{"do_sample": true, "temperature": 0.6, "top_p": 0.9}"#)
    #expect(llama.temperature == 0.6 && llama.topP == 0.9 && llama.topK == 50 && llama.minP == 0)
    let all = try Self.read(
      #"{"temperature": 1, "top_k": 0, "top_p": 0.5, "min_p": 0.25, "repetition_penalty": 1.5, "max_new_tokens": 7}"#)
    let defaults = GenerationDefaults(all)
    #expect(defaults.maximumTokens == 7 && defaults.sampling.topK == 0 && defaults.sampling.temperature == 1)
    #expect(
      defaults.sampling.topP == 0.5 && defaults.sampling.minP == 0.25 && defaults.sampling.repetitionPenalty == 1.5)
    #expect(try Self.sampling(#"{"do_sample": false, "temperature": 0.6}"#).temperature == 0)
    #expect(try Self.sampling(#"{"do_sample": true}"#).temperature == 1)
  }

  @Test("end tokens are one or several")
  func endTokens() throws {
    #expect(try Self.read(#"{"eos_token_id": 2}"#).endTokens == [2])
    #expect(try Self.read(#"{"eos_token_id": [2, 7]}"#).endTokens == [2, 7])
    #expect(try Self.read(#"{"eos_token_id": null}"#).endTokens == [])
  }

  @Test("what is not used is named, what asks for nothing is not")
  func unusedKeys() throws {
    let file = #"""
      {"_from_model_config": true, "num_beams": 4, "typical_p": 1.0, "length_penalty": 1.0, "max_length": 20, "use_cache":
      true, "penalty_alpha": 0.6, "bad_words_ids": null, "something_new": 3, "top_k": 5}
      """#
    #expect(try Self.read(file).unusedKeys == ["num_beams", "penalty_alpha", "something_new"])
  }

  @Test(
    "a wrong value is refused by its key",
    arguments: [
      ("temperature", #"{"temperature": -1}"#), ("top_k", #"{"top_k": 1.5}"#), ("top_p", #"{"top_p": "all"}"#),
      ("do_sample", #"{"do_sample": 1}"#), ("eos_token_id", #"{"eos_token_id": ["</s>"]}"#),
      ("repetition_penalty", #"{"repetition_penalty": 0}"#), ("max_new_tokens", #"{"max_new_tokens": 0}"#),
    ])
  func refusals(key: String, json: String) {
    let error = #expect(throws: (any Error).self) { try Self.read(json) }
    #expect("\(error!)".contains(key) && "\(error!)".contains("minimind-generation-"))
  }
}
