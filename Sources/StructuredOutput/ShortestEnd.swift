/// Measures how many bytes threads are from the end of a valid text, by the shortest way.
struct ShortestEnd {
  private let grammar: Grammar
  /// From the end of a part to the end of the text, for each link that was met.
  private var known: [GrammarThread.Link: TextLength] = [:]

  init(_ grammar: Grammar) { self.grammar = grammar }

  mutating func length(_ thread: GrammarThread) -> TextLength {
    let rest = grammar.shortestRest(thread.top, depth: thread.depth)
    guard let link = thread.parent else { return rest }
    if let known = known[link] { return rest + known }
    let depth = thread.depth - (thread.top.isInsideBrackets ? 1 : 0)
    var after = TextLength.none
    for alternative in link.alternatives {
      after = min(after, length(GrammarThread(top: alternative.frame, parent: alternative.parent, depth: depth)))
    }
    known[link] = after
    return rest + after
  }
}

extension GrammarThread.Frame {
  /// Whether the part that is read has a bracket open.
  fileprivate var isInsideBrackets: Bool {
    switch self {
    case .end, .start, .sequence, .literal, .text, .number: false
    case .array, .object, .property, .freeKey, .colon, .memberValue: true
    }
  }
}

extension Grammar {
  /// The bytes that are missing from the part that a frame reads, at least; those of the parts around it do not count.
  fileprivate func shortestRest(_ frame: GrammarThread.Frame, depth: Int32) -> TextLength {
    switch frame {
    case .end: return TextLength(0)
    case .start: return shortestLength(root, depth: depth)
    case .sequence(let id, let next):
      guard case .sequence(let parts) = node(id) else { return .none }
      return parts[Int(next)...].reduce(TextLength(0)) { $0 + shortestLength($1, depth: depth) }
    case .literal(let id, let read):
      guard case .literal(let bytes, _) = node(id) else { return .none }
      return TextLength(bytes.count - Int(read))
    case .text(let state): return TextLength(state.shortestRest)
    case .number(let id, let state):
      guard case .number(let format) = node(id) else { return .none }
      return state.shortestRest(format).map { TextLength($0) } ?? .none
    case .array(let id, let count, let phase):
      guard case .array(let items, let minimum, _) = node(id) else { return .none }
      let missing = max(Int(minimum) - Int(count), phase.needsPart ? 1 : 0)
      let commas = phase == .afterPart ? missing : max(0, missing - 1)
      return missing * shortestLength(items, depth: depth) + TextLength(commas + 1)
    case .object(let place, let phase): return shortestRest(place, phase, depth: depth)
    case .property(var place, let index, let read):
      guard case .object(let object) = node(place.node) else { return .none }
      let property = object.properties[Int(index)]
      place.next = index + 1
      return TextLength(property.spelling.count - Int(read)) + shortestLength(property.value, depth: depth)
        + shortestRest(place, .afterPart, depth: depth)
    case .freeKey(let place, _, let state):
      return TextLength(state.shortestRest) + shortestRest(.colon(place), depth: depth)
    case .colon(let place):
      // Other keys come last, so only the bracket follows.
      guard case .object(let object) = node(place.node), let value = object.additional else { return .none }
      return shortestLength(value, depth: depth) + TextLength(2)
    case .memberValue(let place, let value, _):
      return shortestLength(value, depth: depth) + shortestRest(place, .afterPart, depth: depth)
    }
  }

  /// What is missing from an object: the required properties that have not come, and the bracket.
  private func shortestRest(
    _ place: GrammarThread.ObjectPlace, _ phase: GrammarThread.Phase, depth: Int32
  ) -> TextLength {
    guard case .object(let object) = node(place.node) else { return .none }
    var (length, count) = (TextLength(1), 0)
    var index = object.nextRequired[Int(place.next)]
    while index < object.properties.count {
      length = length + shortestLength(object.properties[index], depth: depth)
      count += 1
      index = object.nextRequired[index + 1]
    }
    if count == 0 && phase.needsPart {
      let properties = object.properties[Int(place.next)...].map { shortestLength($0, depth: depth) }
      var member = properties.min() ?? .none
      if let additional = object.additional {
        let key = freeKeyState(object, place)
        member = min(member, TextLength(1 + key.shortestRest + 1) + shortestLength(additional, depth: depth))
      }
      return length + member
    }
    return length + TextLength(phase == .afterPart ? count : max(0, count - 1))
  }

  private func shortestLength(_ property: ObjectNode.Property, depth: Int32) -> TextLength {
    TextLength(property.spelling.count) + shortestLength(property.value, depth: depth)
  }
}

extension GrammarThread.Phase {
  /// Whether an item or a member must follow.
  fileprivate var needsPart: Bool { self == .afterComma || self == .afterSpace }
}
