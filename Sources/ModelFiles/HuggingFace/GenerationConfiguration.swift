import Foundation
import Model
import Storage

/// What a model's `generation_config.json` says: which tokens end a text, and how to sample. Nil where it says nothing.
package struct GenerationConfiguration: Sendable, Equatable {
  /// Whether to sample at all: false is greedy decoding.
  package var samples: Bool?
  package var temperature: Double?
  package var topK: Int?
  package var topP: Double?
  package var minP: Double?
  package var repetitionPenalty: Double?
  /// The most tokens of an answer.
  package var maximumTokens: Int?
  package var endTokens: [Int] = []
  /// Keys whose values ask for something that this program does not do.
  package var unusedKeys: [String] = []

  package init() {}

  /// Reads what the model in a directory or file says, or the adapter in a directory, or its base; without a file, nothing
  /// is said.
  ///
  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError`, each naming the file and the key.
  package init(modelDirectory: String) throws {
    let own = modelDirectory + "/generation_config.json"
    if FileManager.default.fileExists(atPath: own) {
      try self.init(path: own)
    } else {
      self = try modelContainer(modelDirectory).generation()
    }
  }

  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError`, each naming the file and the key.
  package init(path: String) throws {
    let file = try HuggingFaceConfig(path: path, json: JSON(contentsOf: path))
    samples = try file.value("do_sample").map { _ in try file.boolean("do_sample", default: false) }
    temperature = try file.number("temperature", in: 0...100)
    topK = try file.integer("top_k", in: 0...Int.max)
    topP = try file.number("top_p", in: 0...1)
    minP = try file.number("min_p", in: 0...1)
    repetitionPenalty = try file.number("repetition_penalty", in: 0.1...10)
    maximumTokens = try file.integer("max_new_tokens", in: 1...Int.max)
    endTokens = try file.tokens("eos_token_id", default: [])
    guard case .object(let members) = file.json else { return }
    unusedKeys = members.filter { member in
      !member.value.isNull && !Self.usedKeys.contains(member.key) && !Self.harmlessKeys.contains(member.key)
        && !member.key.hasPrefix("_") && !(Self.neutralValues[member.key]?.contains(member.value) ?? false)
    }.map(\.key)
  }

  /// Whether the file says how to sample; then what it leaves out has the defaults of `transformers`.
  package var describesSampling: Bool {
    samples != nil || temperature != nil || topK != nil || topP != nil || minP != nil || repetitionPenalty != nil
  }

  /// In `transformers` these are the values of what a file leaves out.
  package static let transformersTemperature = 1.0
  package static let transformersTopK = 50

  private static let usedKeys: Set = [
    "do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_new_tokens", "eos_token_id",
  ]
  /// They change no text.
  private static let harmlessKeys: Set = [
    "bos_token_id", "pad_token_id", "decoder_start_token_id", "transformers_version", "use_cache",
    "cache_implementation",
    "cache_config", "return_legacy_cache", "output_attentions", "output_hidden_states", "output_scores",
    "output_logits", "return_dict_in_generate", "num_return_sequences", "remove_invalid_values",
    "renormalize_logits", "low_memory", "is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "assistant_confidence_threshold", "assistant_early_exit", "assistant_lookbehind", "target_lookbehind",
    "prompt_lookup_num_tokens", "max_matching_ngram_size", "disable_compile", "compile_config", "prefill_chunk_size",
    "generation_kwargs", "chat_format", "max_window_size",
  ]
  /// Values that ask for nothing.
  private static let neutralValues: [String: [JSON]] = [
    "num_beams": [.integer(1)], "num_beam_groups": [.integer(1)], "early_stopping": [.bool(false)],
    "typical_p": [.integer(1), .number(1)], "epsilon_cutoff": [.integer(0), .number(0)],
    "eta_cutoff": [.integer(0), .number(0)], "diversity_penalty": [.integer(0), .number(0)],
    "length_penalty": [.integer(1), .number(1)], "encoder_repetition_penalty": [.integer(1), .number(1)],
    "no_repeat_ngram_size": [.integer(0)], "encoder_no_repeat_ngram_size": [.integer(0)], "min_length": [.integer(0)],
    "min_new_tokens": [.integer(0)], "guidance_scale": [.integer(1), .number(1)],
    // The default of transformers 4, which files repeat.
    "max_length": [.integer(20)],
  ]
}

extension HuggingFaceConfig {
  fileprivate func number(_ key: String, in range: ClosedRange<Double>) throws(ConfigurationError) -> Double? {
    guard value(key) != nil else { return nil }
    let number = try number(key, default: 0)
    guard range.contains(number) else {
      throw invalid("\(key) is \(number); it must be between \(range.lowerBound) and \(range.upperBound)")
    }
    return number
  }

  fileprivate func integer(_ key: String, in range: ClosedRange<Int>) throws(ConfigurationError) -> Int? {
    guard value(key) != nil else { return nil }
    let number = try integer(key)
    guard range.contains(number) else { throw invalid("\(key) is \(number); it must be at least \(range.lowerBound)") }
    return number
  }
}
