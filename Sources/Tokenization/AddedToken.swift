import Storage

/// A token outside the merges, found in the text before the text is split into words: `<s>`, for one.
struct AddedToken: Equatable, Sendable {
  let id: Int32
  let content: String
  let flags: Flags

  /// How `tokenizers` finds the token in a text, and what it is when found.
  struct Flags: Equatable, Sendable {
    /// Can be left out of decoded text, and read as plain text when encoding.
    var isSpecial = false
    /// Found only where no letter, mark, digit or `_` touches it.
    var isSingleWord = false
    /// White space before or after it belongs to it.
    var stripsLeft = false
    var stripsRight = false
    /// Searched for in normalized text, that is after the tokens that are not, in what those leave.
    var isNormalized = false

    static let special = Flags(isSpecial: true)
  }
}

extension AddedToken.Flags {
  /// The keys of both files, in the order of `tokenizer.json`.
  private static let keys: [(name: String, path: WritableKeyPath<Self, Bool> & Sendable)] = [
    ("single_word", \.isSingleWord), ("lstrip", \.stripsLeft), ("rstrip", \.stripsRight),
    ("normalized", \.isNormalized), ("special", \.isSpecial),
  ]

  /// Reads the flags of an entry of `added_tokens` or `added_tokens_decoder`; those that are missing keep the default.
  ///
  /// - Throws: the name of the key whose value is neither true nor false.
  init(_ entry: JSON, default standard: Self = Self()) throws(InvalidFlag) {
    self = standard
    for (name, path) in Self.keys {
      switch entry[name] {
      case nil: break
      case .bool(let value): self[keyPath: path] = value
      case .some: throw InvalidFlag(key: name)
      }
    }
  }

  struct InvalidFlag: Error { let key: String }

  /// The key of the first flag in which the two differ, and its value here.
  func difference(from other: Self) -> (key: String, value: Bool)? {
    for (name, path) in Self.keys where self[keyPath: path] != other[keyPath: path] {
      return (name, self[keyPath: path])
    }
    return nil
  }

  /// The flags as members of a JSON object, a line each.
  func jsonLines(indentation: String) -> String {
    Self.keys.map { "\(indentation)\"\($0.name)\": \(self[keyPath: $0.path])" }.joined(separator: ",\n")
  }
}
