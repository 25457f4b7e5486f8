import Storage

/// SentencePiece's way to write spaces, `Metaspace` of `tokenizers`: each becomes a mark, and one comes first.
struct Metaspace: Sendable, Equatable {
  enum Scheme: String, Sendable { case first, never, always }

  var replacement: String
  var scheme: Scheme
  /// Whether each mark begins a word of its own.
  var splits: Bool

  /// A piece of text with marks.
  ///
  /// - Parameter isFirst: whether the whole text begins with this piece.
  func marked(_ text: UnsafeBufferPointer<UInt8>, isFirst: Bool) -> [UInt8] {
    let mark = Array(replacement.utf8)
    let marked = TextNormalizer.replacing([0x20], with: mark, in: text) ?? Array(text)
    let adds = scheme == .always || scheme == .first && isFirst
    return adds && !marked.starts(with: mark) ? mark + marked : marked
  }

  var json: JSON {
    .object([
      .init("type", .string("Metaspace")), .init("replacement", .string(replacement)),
      .init("prepend_scheme", .string(scheme.rawValue)), .init("split", .bool(splits)),
    ])
  }
}
