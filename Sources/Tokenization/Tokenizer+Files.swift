import Foundation
import Storage

extension Tokenizer {
  /// The files of a tokenizer, `tokenizer.json` and those that may accompany it.
  private static let fileNames = [
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json",
  ]
  /// The directory of the chat templates that have a name.
  private static let templateDirectory = "additional_chat_templates"

  /// The files of a tokenizer that are in `directory`, by name; chat templates of their own directory as `DIRECTORY/NAME`.
  package static func files(in directory: String) -> [String] {
    let templates = (try? FileManager.default.contentsOfDirectory(atPath: directory + "/" + templateDirectory)) ?? []
    return fileNames.filter { FileManager.default.fileExists(atPath: directory + "/" + $0) }
      + templates.filter { $0.hasSuffix(".jinja") }.sorted().map { templateDirectory + "/" + $0 }
  }

  /// Whether an entry of a directory is of a tokenizer, by its name.
  package static func isFile(_ name: String) -> Bool { fileNames.contains(name) || name == templateDirectory }

  /// Reads `tokenizer.json` from a directory, and the files beside it that say more of it.
  ///
  /// - Throws: see `init(_:)`.
  package init(directory: String) throws { try self.init(TokenizerFiles(directory: directory)) }

  /// Reads a tokenizer from its files.
  ///
  /// - Throws: `FileError` when a file cannot be read, `TokenizerError` when its content is wrong or is a
  ///   kind of tokenizer that this program does not have.
  package init(_ files: TokenizerFiles) throws {
    var contents: [(name: String, bytes: [UInt8])] = []
    for name in files.names { contents.append((name, try files.content(name) ?? [])) }
    func read<Value>(_ name: String, _ body: (UnsafeRawBufferPointer, String) throws -> Value) throws -> Value? {
      try contents.first { $0.name == name }.map { file in
        try file.bytes.withUnsafeBytes { try body($0, files.path(of: name)) }
      }
    }
    let specials = try read("special_tokens_map.json") { try JSON(parsing: $0, path: $1) }
    let configuration = try read("tokenizer_config.json") {
      try TokenizerConfiguration($0, path: $1, specialTokensMap: specials)
    }
    let path = files.path(of: "tokenizer.json")
    let reader = try read("tokenizer.json") {
      try TokenizerFileReader($0, path: $1, configuration: configuration ?? TokenizerConfiguration())
    }
    guard let reader else {
      _ = try MappedFile(path)
      throw TokenizerError("\(path) appeared while it was read. Try again.")
    }
    let model = try reader.model()
    try self.init(
      model: model, frame: reader.frame(vocabularySize: model.vocabularySize), files: contents,
      configuration: configuration ?? TokenizerConfiguration(), path: path)
  }

  /// A file's bytes. Tokenizer files are small; one of gigabytes is a mistake.
  static func content(_ path: String) throws -> [UInt8] {
    let file = try MappedFile(path)
    guard file.bytes.count <= 1 << 30 else {
      throw TokenizerError("\(path) has \(file.bytes.count) bytes, far too many for a tokenizer. Check the path.")
    }
    return withExtendedLifetime(file) { Array(file.bytes) }
  }

  /// A tokenizer with the given vocabulary, which begins with the layout's special tokens, as the trainer makes it.
  init(
    tokens: [String], merges: [BytePairModel.Merge], layout: TokenizerLayout, splits: [SplitStep]
  ) throws(TokenizerError) {
    let model = BytePairModel(
      tokens: tokens, merges: merges, addedTokens: layout.addedTokens, pipeline: TextPipeline(splits: splits))
    try self.init(
      model: model, frame: TextFrame(),
      files: [
        ("tokenizer.json", model.fileBytes()), ("tokenizer_config.json", TokenizerConfiguration.newFile(layout)),
      ],
      configuration: TokenizerConfiguration(layout))
  }

  /// Writes the files into `directory`, which is made when it does not exist. They appear together or not at all.
  /// Files that were read are written back as they were; those of another tokenizer that this one lacks are removed.
  ///
  /// - Throws: `FileError`.
  package func save(to directory: String) throws {
    guard FileManager.default.fileExists(atPath: directory) else {
      return try AtomicDirectory.write(directory) { try write(into: $0) }
    }
    try createDirectory(directory)
    try write(into: directory)
  }

  private func write(into directory: String) throws {
    let ordered = files.filter { $0.name != "tokenizer.json" } + files.filter { $0.name == "tokenizer.json" }
    let written = try ordered.map { file in
      try file.bytes.withUnsafeBytes { try Self.begin($0, in: directory, file.name) }
    }
    for name in Self.files(in: directory) where !files.contains(where: { $0.name == name }) {
      // A chat template of its own file, for one, would hide the one in the configuration.
      try? FileManager.default.removeItem(atPath: directory + "/" + name)
    }
    try AtomicFile.commit(written)
  }

  /// A file that is written and not yet in place.
  static func begin(
    _ bytes: UnsafeRawBufferPointer, in directory: String, _ name: String
  ) throws(FileError) -> AtomicFile {
    if name.hasPrefix(templateDirectory) { try createDirectory(directory + "/" + templateDirectory) }
    let file = try AtomicFile(directory + "/" + name)
    try file.write(bytes)
    return file
  }
}
