import Foundation
import Storage

/// The files of a tokenizer by their names, `tokenizer.json` and those that may accompany it: those of a directory, or others
/// that say the same of a file of another format.
package struct TokenizerFiles: Sendable {
  /// The directory, or the file of another format, for messages.
  package let location: String
  package let names: [String]
  /// What a file lies at or is a part of.
  private let pathOfName: @Sendable (String) -> String
  private let read: @Sendable (String) throws -> [UInt8]

  /// Those in a directory, which need not have any.
  package init(directory: String) {
    location = directory
    names = Tokenizer.files(in: directory)
    pathOfName = { directory + "/" + $0 }
    read = { try Tokenizer.content(directory + "/" + $0) }
  }

  /// Those that a file of another format stands for.
  ///
  /// - Parameter read: the bytes of one of `names`.
  package init(of path: String, names: [String], read: @escaping @Sendable (_ name: String) throws -> [UInt8]) {
    location = path
    self.names = names
    pathOfName = { _ in path }
    self.read = read
  }

  /// Whether there is a tokenizer at all.
  package var hasTokenizer: Bool { names.contains("tokenizer.json") }

  /// Where a file is, for messages.
  package func path(of name: String) -> String { pathOfName(name) }

  /// A file's bytes; nil where there is none of this name.
  ///
  /// - Throws: `FileError` or `TokenizerError`.
  func content(_ name: String) throws -> [UInt8]? { names.contains(name) ? try read(name) : nil }

  /// A file as text; nil where there is none of this name.
  ///
  /// - Throws: `FileError` or `TokenizerError`.
  package func text(_ name: String) throws -> String? { try content(name).map { String(decoding: $0, as: UTF8.self) } }

  /// Writes the files into a directory, which exists.
  ///
  /// - Throws: `FileError`, also when there is no `tokenizer.json`.
  package func write(into directory: String) throws {
    // Named even where it is missing, so that its absence is an error.
    for name in ["tokenizer.json"] + names.filter({ $0 != "tokenizer.json" }) {
      try read(name).withUnsafeBytes { try Tokenizer.begin($0, in: directory, name).commit() }
    }
  }
}
