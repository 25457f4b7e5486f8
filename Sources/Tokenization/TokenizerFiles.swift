import Foundation
import Storage

extension Tokenizer {
  /// The files that `save(to:)` writes, the last one only for a tokenizer that was read with it.
  package static let fileNames = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
  /// Those that go along when a tokenizer is copied: with the one that other programs write and nothing here reads.
  package static let copiedFileNames = fileNames + ["special_tokens_map.json"]

  /// Reads `tokenizer.json` from a directory, and `tokenizer_config.json` and `chat_template.jinja` if they are there.
  ///
  /// - Throws: `FileError` when a file cannot be read, `TokenizerError` when its content is wrong or is a
  ///   kind of tokenizer that this program does not have.
  package init(directory: String) throws {
    let path = directory + "/tokenizer.json"
    let file = try Self.content(path)
    let configurationPath = directory + "/tokenizer_config.json"
    let configuration =
      FileManager.default.fileExists(atPath: configurationPath)
      ? try Self.content(configurationPath).withUnsafeBytes {
        try TokenizerConfiguration($0, path: configurationPath)
      }
      : TokenizerConfiguration()
    let templatePath = directory + "/chat_template.jinja"
    let template = FileManager.default.fileExists(atPath: templatePath) ? try Self.content(templatePath) : nil
    let model = try file.withUnsafeBytes { try TokenizerFileReader($0, path: path).model() }
    try self.init(
      model: model, fileBytes: file, configuration: configuration, chatTemplateBytes: template, path: path)
  }

  /// A file's bytes. Tokenizer files are small; one of gigabytes is a mistake.
  static func content(_ path: String) throws -> [UInt8] {
    let file = try MappedFile(path)
    guard file.bytes.count <= 1 << 30 else {
      throw TokenizerError("\(path) has \(file.bytes.count) bytes, far too many for a tokenizer. Check the path.")
    }
    return Array(file.bytes)
  }

  /// A tokenizer with the given vocabulary and v1's three special tokens, as the trainer makes it.
  init(tokens: [String], merges: [BytePairModel.Merge], specialTokens: [String]) throws(TokenizerError) {
    let added = specialTokens.enumerated().map { AddedToken(id: Int32($0), content: $1, isSpecial: true) }
    let model = BytePairModel(tokens: tokens, merges: merges, addedTokens: added)
    try self.init(model: model, fileBytes: Self.fileBytes(of: model), configuration: TokenizerConfiguration())
  }

  /// Writes the files into `directory`, which is made when it does not exist. Each file appears whole or not at all.
  /// Files that were read are written back as they were.
  package func save(to directory: String) throws {
    try createDirectory(directory)
    try AtomicFile.write(configurationBytes, to: directory + "/tokenizer_config.json")
    let templatePath = directory + "/chat_template.jinja"
    if let chatTemplateBytes {
      try AtomicFile.write(chatTemplateBytes, to: templatePath)
    } else {
      // Another tokenizer's would hide the template in this one's configuration.
      try? FileManager.default.removeItem(atPath: templatePath)
    }
    try AtomicFile.write(fileBytes, to: directory + "/tokenizer.json")
  }

  /// `tokenizer.json` to the byte as `tokenizers` 0.23 saves it.
  private static func fileBytes(of model: BytePairModel) -> [UInt8] {
    let added = model.addedTokens.map { token in
      """
          {
            "id": \(token.id),
            "content": \(JSON.quoted(token.content)),
            "single_word": false,
            "lstrip": false,
            "rstrip": false,
            "normalized": false,
            "special": \(token.isSpecial)
          }
      """
    }
    let vocabulary = model.tokens.enumerated().map { "      \(JSON.quoted($1)): \($0)" }
    let merges = model.merges.map { merge in
      "      [\n        \(JSON.quoted(model.tokens[Int(merge.left)])),\n"
        + "        \(JSON.quoted(model.tokens[Int(merge.right)]))\n      ]"
    }
    let text = """
      {
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [
      \(added.joined(separator: ",\n"))
        ],
        "normalizer": null,
        "pre_tokenizer": {
          "type": "ByteLevel",
          "add_prefix_space": false,
          "trim_offsets": true,
          "use_regex": true
        },
        "post_processor": null,
        "decoder": {
          "type": "ByteLevel",
          "add_prefix_space": true,
          "trim_offsets": true,
          "use_regex": true
        },
        "model": {
          "type": "BPE",
          "dropout": null,
          "unk_token": null,
          "continuing_subword_prefix": null,
          "end_of_word_suffix": null,
          "fuse_unk": false,
          "byte_fallback": false,
          "ignore_merges": false,
          "vocab": {
      \(vocabulary.joined(separator: ",\n"))
          },
          "merges": \(merges.isEmpty ? "[]" : "[\n\(merges.joined(separator: ",\n"))\n    ]")
        }
      }
      """
    return Array(text.utf8)
  }
}
