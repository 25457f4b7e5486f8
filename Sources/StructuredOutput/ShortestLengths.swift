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

  /// - Parameter counts: of each automaton the number of its texts; nil where there is no end of them.
  init(_ nodes: [Grammar.Node], _ automata: [Automaton], _ counts: [Int?]) {
    let texts = automata.map { $0.shortestText.map { TextLength($0) } ?? .none }
    var deepestLiteral = 0
    for case .literal(_, let depth) in nodes { deepestLiteral = max(deepestLiteral, depth) }
    var levels: [[TextLength]] = []
    for level in 0...Grammar.maximumDepth {
      let next = Self.lengths(nodes, texts, counts, level: level, inside: levels.last)
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
    _ nodes: [Grammar.Node], _ texts: [TextLength], _ counts: [Int?], level: Int, inside inner: [TextLength]?
  ) -> [TextLength] {
    var lengths = [TextLength](repeating: .none, count: nodes.count)
    var changes = true
    // In both directions by turns, since nodes lead to later ones more often than to earlier ones.
    var isForward = false
    while changes {
      changes = false
      for step in nodes.indices {
        let index = isForward ? step : nodes.count - 1 - step
        let found =
          switch nodes[index] {
          case .alternatives(let choices): choices.lazy.map { lengths[Int($0)] }.min() ?? .none
          case .sequence(let parts): parts.reduce(TextLength(0)) { $0 + lengths[Int($1)] }
          case .literal(let text, let depth): depth <= level ? TextLength(text.count) : .none
          case .string(let minimum, _): TextLength(2 + Int(minimum))
          case .number(let format): NumberState().shortestRest(format).map { TextLength($0) } ?? .none
          case .automaton(let automaton): texts[Int(automaton)]
          case .array(let array): inner.map { Self.length(array, texts, inside: $0) } ?? .none
          case .object(let object): inner.map { Self.length(object, texts, counts, inside: $0) } ?? .none
          }
        if found < lengths[index] {
          lengths[index] = found
          changes = true
        }
      }
      isForward.toggle()
    }
    return lengths
  }

  private static func length(
    _ array: Grammar.ArrayNode, _ texts: [TextLength], inside inner: [TextLength]
  ) -> TextLength {
    func item(_ index: Int) -> TextLength {
      guard let unique = array.unique else { return inner[Int(array.item(index))] }
      return unique[min(index, array.prefix.count)].map { texts[Int($0)] } ?? .none
    }
    let minimum = Int(array.minimum)
    let first = min(minimum, array.prefix.count)
    // Items that differ from others are longer, mostly by a byte.
    let more = array.unique == nil ? 0 : max(0, minimum - 1)
    return (0..<first).reduce(TextLength(2 + more + max(0, minimum - 1))) { $0 + item($1) }
      + (minimum - first) * item(array.prefix.count)
  }

  private static func length(
    _ object: Grammar.ObjectNode, _ texts: [TextLength], _ counts: [Int?], inside inner: [TextLength]
  ) -> TextLength {
    let required = object.properties.filter(\.isRequired)
    guard required.count <= Int(object.maximum) else { return .none }
    let missing = max(0, Int(object.minimum) - required.count)
    var length = required.reduce(TextLength(2 + max(0, required.count + missing - 1))) {
      $0 + TextLength($1.spelling.count) + inner[Int($1.value)]
    }
    if missing == 0 { return length }
    let optional = object.properties.filter { !$0.isRequired }
      .map { TextLength($0.spelling.count) + inner[Int($0.value)] }
    var free: [(member: TextLength, count: Int?)] = []
    if let additional = object.additional {
      let key = TextState(allowsEscapes: false, forbidden: object.properties.map(\.key))
      free.append((TextLength(2 + key.shortestRest) + inner[Int(additional)], nil))
    }
    for group in object.groups {
      free.append((texts[Int(group.automaton)] + TextLength(1) + inner[Int(group.value)], counts[Int(group.automaton)]))
    }
    length = length + TextLength.sum(of: missing, optional: optional, free: free)
    return length
  }
}

extension TextLength {
  /// The length of `count` members, chosen so as to be short, at least nearly the shortest; `none` where there are fewer.
  ///
  /// - Parameters:
  ///   - optional: members of which each can be chosen once.
  ///   - free: the length of a member, of which there are `count`, or any number. The first one has this length, and
  ///     each other one a byte more, since their keys differ.
  static func sum(of count: Int, optional: [TextLength], free: [(member: TextLength, count: Int?)]) -> TextLength {
    var rest = count
    var sum = TextLength(0)
    var optional = optional.filter { $0 != .none }.sorted()[...]
    let endless = 1 << 40
    var free = free.filter { $0.member != .none && $0.count != 0 }.map { ($0.member, $0.count ?? endless) }
      .sorted { $0.0 < $1.0 }
    let most = free.reduce(optional.count) { min(endless, $0 + $1.1) }
    if rest > most { return .none }
    // More than any model writes.
    if rest > 10_000 { return .maximum }
    while rest > 0 {
      if let first = optional.first, free.isEmpty || first <= free[0].0 {
        sum = sum + first
        optional.removeFirst()
        rest -= 1
      } else if !free.isEmpty {
        // One of this length; all others of it together, if there is nothing else.
        let taken = optional.isEmpty && free.count == 1 ? min(rest, free[0].1) : 1
        sum = sum + TextLength(taken - 1) + taken * free[0].0
        rest -= taken
        free[0].1 -= taken
        free[0].0 = free[0].0 + TextLength(1)
        if free[0].1 == 0 { free.removeFirst() }
        free.sort { $0.0 < $1.0 }
      } else {
        return .none
      }
    }
    return sum
  }
}
