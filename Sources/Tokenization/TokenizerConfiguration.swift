import Foundation
import Storage

/// The part of `tokenizer_config.json` that matters here: the names of three tokens, and the chat template.
struct TokenizerConfiguration {
  var unknownToken = "<unk>"
  var beginToken = "<s>"
  var endToken = "</s>"
  var chatTemplate: ChatTemplateSource = .none
  /// The file's content.
  let bytes: [UInt8]

  enum ChatTemplateSource: Equatable {
    case none
    case text(String)
    /// A list of templates by name.
    case several
  }

  init(_ bytes: UnsafeRawBufferPointer, path: String) throws(TokenizerError) {
    self.bytes = Array(bytes)
    let root = try JSON(parsing: bytes, path: path)
    guard case .object = root else {
      throw TokenizerError("\(path): it is \(root.kind) where an object is expected.")
    }
    func name(_ key: String, or standard: String) throws(TokenizerError) -> String {
      switch root[key] {
      case nil, .null: return standard
      case .string(let text): return text
      case .some(let value):
        if case .string(let text)? = value["content"] { return text }
        throw TokenizerError("\(path): \(key) is \(value.kind), the text of a token is expected.")
      }
    }
    unknownToken = try name("unk_token", or: unknownToken)
    beginToken = try name("bos_token", or: beginToken)
    endToken = try name("eos_token", or: endToken)
    switch root["chat_template"] {
    case nil, .null: chatTemplate = .none
    case .string(let text): chatTemplate = .text(text)
    case .array: chatTemplate = .several
    case .some(let value):
      throw TokenizerError("\(path): chat_template is \(value.kind), a text is expected.")
    }
  }

  /// For a new tokenizer: v1's names and chat template.
  init() {
    chatTemplate = .text(ChatTemplate.source)
    let added = ["<unk>", "<s>", "</s>"].enumerated().map { id, content in
      """
          "\(id)": {
            "content": \(JSON.quoted(content)),
            "lstrip": false,
            "normalized": false,
            "rstrip": false,
            "single_word": false,
            "special": true
          }
      """
    }
    bytes = Array(
      """
      {
        "add_bos_token": false,
        "add_eos_token": false,
        "add_prefix_space": false,
        "added_tokens_decoder": {
      \(added.joined(separator: ",\n"))
        },
        "additional_special_tokens": [],
        "bos_token": "<s>",
        "chat_template": \(JSON.quoted(ChatTemplate.source)),
        "clean_up_tokenization_spaces": false,
        "eos_token": "</s>",
        "model_max_length": 1000000000000000019884624838656,
        "pad_token": null,
        "spaces_between_special_tokens": false,
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": "<unk>"
      }

      """.utf8)
  }
}

extension TokenizerConfiguration.ChatTemplateSource {
  /// The template of the tokenizer in a directory: `chat_template.jinja`, or what `tokenizer_config.json` says.
  init(tokenizerDirectory: String) throws {
    let separate = tokenizerDirectory + "/chat_template.jinja"
    let path = tokenizerDirectory + "/tokenizer_config.json"
    if FileManager.default.fileExists(atPath: separate) {
      self = .text(String(decoding: try Tokenizer.content(separate), as: UTF8.self))
    } else {
      self = try Tokenizer.content(path).withUnsafeBytes { try TokenizerConfiguration($0, path: path).chatTemplate }
    }
  }
}
