/// The number of bytes of a shortest text: from 0 to `maximum`, which stands for all that are longer, or `none`.
struct TextLength: Hashable, Comparable, Sendable {
  private let bytes: Int

  /// There is no text at all.
  static let none = TextLength(bytes: Int.max)
  /// More than any model writes; sums and products stop here, so that they cannot overflow.
  static let maximum = TextLength(bytes: 1 << 40)

  private init(bytes: Int) { self.bytes = bytes }

  init(_ bytes: Int) { self.bytes = min(bytes, Self.maximum.bytes) }

  /// One byte less; nil of 0, and where the exact length is not known.
  var predecessor: TextLength? { bytes == 0 || self >= .maximum ? nil : TextLength(bytes - 1) }

  static func < (left: TextLength, right: TextLength) -> Bool { left.bytes < right.bytes }

  static func + (left: TextLength, right: TextLength) -> TextLength {
    max(left, right) == .none ? .none : TextLength(left.bytes + right.bytes)
  }

  static func * (count: Int, length: TextLength) -> TextLength {
    if count == 0 { return TextLength(0) }
    if length == .none { return .none }
    let (product, overflow) = count.multipliedReportingOverflow(by: length.bytes)
    return overflow ? .maximum : TextLength(product)
  }
}

/// The lengths of the shortest texts of a grammar's nodes, which depend on how many objects and arrays may be opened.
struct ShortestLengths: Sendable {
  /// By the number of levels of objects and arrays that may be opened, and by node. More levels than these change
  /// nothing.
  private let levels: [[TextLength]]

  init(_ nodes: [Grammar.Node]) {
    var deepestLiteral = 0
    for case .literal(_, let depth) in nodes { deepestLiteral = max(deepestLiteral, depth) }
    var levels: [[TextLength]] = []
    for level in 0...Grammar.maximumDepth {
      let next = Self.lengths(nodes, level: level, inside: levels.last)
      if next == levels.last && level > deepestLiteral { break }
      levels.append(next)
    }
    self.levels = levels
  }

  func length(_ id: Grammar.NodeID, levels count: Int) -> TextLength {
    count < 0 ? .none : levels[min(count, levels.count - 1)][Int(id)]
  }

  /// The least fixed point: from no text for any node, until nothing changes.
  ///
  /// - Parameter inner: the lengths with one level less; nil where no object or array may be opened.
  private static func lengths(
    _ nodes: [Grammar.Node], level: Int, inside inner: [TextLength]?
  ) -> [TextLength] {
    var lengths = [TextLength](repeating: .none, count: nodes.count)
    var changes = true
    while changes {
      changes = false
      for (index, node) in nodes.enumerated() {
        let found =
          switch node {
          case .alternatives(let choices): choices.lazy.map { lengths[Int($0)] }.min() ?? .none
          case .sequence(let parts): parts.reduce(TextLength(0)) { $0 + lengths[Int($1)] }
          case .literal(let text, let depth): depth <= level ? TextLength(text.count) : .none
          case .string(let minimum, _): TextLength(2 + Int(minimum))
          case .number(let format): NumberState().shortestRest(format).map { TextLength($0) } ?? .none
          case .array(let items, let minimum, _):
            inner.map { Int(minimum) * $0[Int(items)] + TextLength(2 + max(0, Int(minimum) - 1)) } ?? .none
          case .object(let object):
            inner.map { inner in
              let required = object.properties.filter(\.isRequired)
              let commas = TextLength(2 + max(0, required.count - 1))
              return required.reduce(commas) { $0 + TextLength($1.spelling.count) + inner[Int($1.value)] }
            } ?? .none
          }
        if found < lengths[index] {
          lengths[index] = found
          changes = true
        }
      }
    }
    return lengths
  }
}
