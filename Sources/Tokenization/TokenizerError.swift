import Storage

/// What can be wrong with a tokenizer's files, its training text or a chat template, in one sentence.
package struct TokenizerError: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String

  package init(_ description: String) { self.description = description }
}

extension JSON {
  /// Reads the content of `path`, a file of a tokenizer.
  init(parsing bytes: UnsafeRawBufferPointer, path: String) throws(TokenizerError) {
    guard !bytes.isEmpty else { throw TokenizerError("\(path) is empty. Copy the file again.") }
    do { self = try JSON(parsing: bytes) } catch {
      throw TokenizerError("\(path):\(error.line): not valid JSON: \(error.reason). Copy the file again.")
    }
  }

  /// What this is, for an error message.
  var kind: String {
    switch self {
    case .null: "null"
    case .bool(let value): "\(value)"
    case .integer, .number: "a number"
    case .string(let text): text.inQuotes
    case .array: "a list"
    case .object: "an object"
    }
  }
}
