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
    case .end, .start, .sequence, .literal, .text, .number, .automaton: false
    case .array, .uniqueArray, .object, .property, .freeKey, .distinct, .colon, .memberValue: true
    }
  }
}

extension Grammar {
  /// The bytes that are missing from the part that a frame reads, at least; those of the parts around it do not count.
  fileprivate func shortestRest(_ frame: GrammarThread.Frame, depth: Int32) -> TextLength {
    switch frame {
    case .end: return TextLength(0)
    case .start: return allowsEmpty ? TextLength(0) : shortestLength(root, depth: depth)
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
    case .automaton(let id, let state): return TextLength(Int(automaton(id).distances[Int(state)]))
    case .array(let id, let count, let phase):
      guard case .array(let array) = node(id) else { return .none }
      let missing = max(Int(array.minimum) - Int(count), phase.needsPart ? 1 : 0)
      let commas = phase == .afterPart ? missing : max(0, missing - 1)
      let first = min(missing, max(0, array.prefix.count - Int(count)))
      return (0..<first).reduce(TextLength(commas + 1)) {
        $0 + shortestLength(array.item(Int(count) + $1), depth: depth)
      }
        + (missing - first) * shortestLength(array.items, depth: depth)
    case .uniqueArray(let place, let phase):
      guard case .array(let array) = node(place.node), let unique = array.unique else { return .none }
      let missing = max(Int(array.minimum) - place.taken.count, phase.needsPart ? 1 : 0)
      let commas = phase == .afterPart ? missing : max(0, missing - 1)
      let taken = place.taken.map { $0[...] }
      var length = TextLength(commas + 1)
      for index in place.taken.count..<place.taken.count + min(missing, array.prefix.count + 1) {
        guard let automaton = unique[min(index, array.prefix.count)],
          let item = automata[Int(automaton)].distance(0, avoiding: taken)
        else { return .none }
        // Those after the first must differ from it, too, mostly by a byte more.
        let isRest = index - place.taken.count == array.prefix.count
        let count = isRest ? missing - array.prefix.count : 1
        length = length + count * TextLength(item + (index > place.taken.count ? 1 : 0))
        if isRest && index == place.taken.count { length = length + TextLength(count - 1) }
      }
      return length
    case .object(let place, let phase): return shortestRest(place, phase, depth: depth)
    case .property(var place, let index, let read):
      guard case .object(let object) = node(place.node) else { return .none }
      let property = object.properties[Int(index)]
      place.next = index + 1
      if object.isCounted { place.count += 1 }
      return TextLength(property.spelling.count - Int(read)) + shortestLength(property.value, depth: depth)
        + shortestRest(place, .afterPart, depth: depth)
    case .freeKey(let place, let key, let state):
      guard case .object(let object) = node(place.node), let value = object.additional else { return .none }
      return TextLength(state.shortestRest) + shortestRest(.colon(taking(key, object, place), value), depth: depth)
    case .distinct(let text):
      guard let length = automata[Int(text.automaton)].distance(text.state, avoiding: text.others) else { return .none }
      return TextLength(length) + shortestRest(completed(text), depth: depth)
    case .colon(let place, let value):
      return TextLength(1) + shortestLength(value, depth: depth) + shortestRest(place, .afterPart, depth: depth)
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
    let missing = max(Int(object.minimum) - Int(place.count) - count, count == 0 && phase.needsPart ? 1 : 0)
    if missing > 0 {
      let optional = object.properties[Int(place.next)...].filter { !$0.isRequired }
      var free: [(member: TextLength, count: Int?)] = []
      if let additional = object.additional {
        let key = freeKeyState(object, place)
        free.append((TextLength(1 + key.shortestRest + 1) + shortestLength(additional, depth: depth), nil))
      }
      let taken = place.freeKeys.map { $0[...] }
      for group in object.groups {
        guard let key = automata[Int(group.automaton)].distance(0, avoiding: taken) else { continue }
        free.append(
          (TextLength(key + 1) + shortestLength(group.value, depth: depth), textCounts[Int(group.automaton)]))
      }
      length =
        length
        + TextLength.sum(of: missing, optional: optional.map { shortestLength($0, depth: depth) }, free: free)
    }
    return length + TextLength(phase == .afterPart ? count + missing : max(0, count + missing - 1))
  }

  private func shortestLength(_ property: ObjectNode.Property, depth: Int32) -> TextLength {
    TextLength(property.spelling.count) + shortestLength(property.value, depth: depth)
  }
}

extension GrammarThread.Phase {
  /// Whether an item or a member must follow.
  fileprivate var needsPart: Bool { self == .afterComma || self == .afterSpace }
}
