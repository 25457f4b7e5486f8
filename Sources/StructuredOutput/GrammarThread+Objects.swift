/// How objects are read: properties in the order of the schema, optional ones or not, then other keys, each once.
extension Grammar {
  func stepObject(
    _ place: GrammarThread.ObjectPlace, _ phase: GrammarThread.Phase, _ byte: UInt8, _ thread: GrammarThread,
    into result: inout GrammarStep
  ) {
    guard case .object(let object) = node(place.node) else { return }
    switch (phase, byte) {
    case (.opened, UInt8(ascii: "}")), (.afterPart, UInt8(ascii: "}")):
      if object.nextRequired[Int(place.next)] == object.properties.count, place.count >= object.minimum {
        result.addEnded(thread, closing: 1)
      }
    case (.afterPart, UInt8(ascii: ",")):
      if canGoOn(object, place, thread.depth) { result.add(thread.with(.object(place, .afterComma))) }
    case (.afterPart, _): return
    case (.afterComma, UInt8(ascii: " ")): result.add(thread.with(.object(place, .afterSpace)))
    case (_, UInt8(ascii: "\"")): startKey(object, place, thread, into: &result)
    default: return
    }
  }

  /// The properties of which one may come next: those up to the next required one, that one included.
  private func nextProperties(_ object: ObjectNode, _ place: GrammarThread.ObjectPlace, _ depth: Int32) -> [Int] {
    let next = Int(place.next)
    let last = min(object.nextRequired[next], object.properties.count - 1)
    return next > last
      ? []
      : (next...last).filter {
        fits(object.properties[$0].value, depth: depth) && hasRoom(object, place, after: $0, depth)
      }
  }

  /// Whether the number of members can still come right when a property comes next.
  private func hasRoom(
    _ object: ObjectNode, _ place: GrammarThread.ObjectPlace, after index: Int, _ depth: Int32
  ) -> Bool {
    guard object.isCounted else { return true }
    let (count, required) = (Int(place.count) + 1, object.requiredCounts[index + 1])
    guard count + required <= Int(object.maximum) else { return false }
    if count + required >= Int(object.minimum) { return true }
    let optional = object.properties[(index + 1)...].count { !$0.isRequired && fits($0.value, depth: depth) }
    let free = freeCapacity(object, place) { fits($0, depth: depth) }
    return count + required + optional >= Int(object.minimum) - free
  }

  /// How many more keys there are that the schema does not name; a large number where there is no end of them.
  func freeCapacity(
    _ object: ObjectNode, _ place: GrammarThread.ObjectPlace, _ fits: (NodeID) -> Bool
  ) -> Int {
    let endless = 1 << 40
    if let additional = object.additional { return fits(additional) ? endless : 0 }
    let keys = object.groups.reduce(0) { sum, group in
      fits(group.value) ? min(endless, sum + (textCounts[Int(group.automaton)] ?? endless)) : sum
    }
    // Those that are taken may belong to groups whose values no longer fit; then this is too few, which is safe.
    return keys >= endless ? endless : max(0, keys - place.freeKeys.count)
  }

  private func allowsFreeKey(_ object: ObjectNode, _ place: GrammarThread.ObjectPlace, _ depth: Int32) -> Bool {
    guard object.nextRequired[Int(place.next)] == object.properties.count else { return false }
    guard object.isCounted else { return true }
    return place.count < object.maximum
      && Int(object.minimum) - Int(place.count) <= freeCapacity(object, place) { fits($0, depth: depth) }
  }

  private func freeValue(_ object: ObjectNode, _ place: GrammarThread.ObjectPlace, _ depth: Int32) -> NodeID? {
    guard let additional = object.additional, allowsFreeKey(object, place, depth) else { return nil }
    return fits(additional, depth: depth) ? additional : nil
  }

  /// The beginnings of keys that automata read.
  private func freeKeys(
    _ object: ObjectNode, _ place: GrammarThread.ObjectPlace, _ depth: Int32
  ) -> [GrammarThread.DistinctText] {
    guard !object.groups.isEmpty, allowsFreeKey(object, place, depth) else { return [] }
    let taken = place.freeKeys.map { $0[...] }
    return object.groups.compactMap { group in
      guard fits(group.value, depth: depth), automata[Int(group.automaton)].distance(0, avoiding: taken) != nil else {
        return nil
      }
      return GrammarThread.DistinctText(
        automaton: group.automaton, others: taken, context: .key(place, value: group.value))
    }
  }

  private func canGoOn(_ object: ObjectNode, _ place: GrammarThread.ObjectPlace, _ depth: Int32) -> Bool {
    freeValue(object, place, depth) != nil || !nextProperties(object, place, depth).isEmpty
      || !freeKeys(object, place, depth).isEmpty
  }

  /// Before the first character of a key that the schema does not name.
  func freeKeyState(_ object: ObjectNode, _ place: GrammarThread.ObjectPlace) -> TextState {
    TextState(allowsEscapes: false, forbidden: object.properties.map(\.key) + place.freeKeys)
  }

  /// After the quote that opens a key.
  private func startKey(
    _ object: ObjectNode, _ place: GrammarThread.ObjectPlace, _ thread: GrammarThread,
    into result: inout GrammarStep
  ) {
    for index in nextProperties(object, place, thread.depth) {
      result.add(thread.with(.property(place, index: Int32(index), read: 1)))
    }
    if freeValue(object, place, thread.depth) != nil {
      result.add(thread.with(.freeKey(place, key: [], freeKeyState(object, place))))
    }
    for key in freeKeys(object, place, thread.depth) {
      stepDistinct(key, UInt8(ascii: "\""), thread, into: &result)
    }
  }

  func stepMember(_ byte: UInt8, _ thread: GrammarThread, into result: inout GrammarStep) {
    switch thread.top {
    case .property(var place, let index, let read):
      guard case .object(let object) = node(place.node) else { return }
      let property = object.properties[Int(index)]
      guard property.spelling[Int(read)] == byte else { return }
      if Int(read) + 1 == property.spelling.count {
        place.next = index + 1
        if object.isCounted { place.count += 1 }
        result.add(thread.with(.memberValue(place, property.value, allowsSpace: true)))
      } else {
        result.add(thread.with(.property(place, index: index, read: read + 1)))
      }
    case .freeKey(let place, let key, var state):
      switch state.step(byte) {
      case .rejected: return
      case .inside: result.add(thread.with(.freeKey(place, key: key + [byte], state)))
      case .closed:
        guard case .object(let object) = node(place.node), let value = object.additional else { return }
        result.add(thread.with(.colon(taking(key, object, place), value)))
      }
    case .colon(let place, let value):
      guard byte == UInt8(ascii: ":") else { return }
      result.add(thread.with(.memberValue(place, value, allowsSpace: true)))
    case .memberValue(let place, let value, let allowsSpace):
      if allowsSpace && byte == UInt8(ascii: " ") {
        result.add(thread.with(.memberValue(place, value, allowsSpace: false)))
      } else if canBegin(value, byte) {
        result.begin(value, inside: .object(place, .afterPart), thread.parent, depth: thread.depth)
      }
    default: return
    }
  }

  /// The place in an object after a key that the schema does not name.
  func taking(
    _ key: [UInt8], _ object: ObjectNode, _ place: GrammarThread.ObjectPlace
  ) -> GrammarThread.ObjectPlace {
    var place = place
    place.next = Int32(object.properties.count)
    place.freeKeys.append(key)
    if object.isCounted { place.count += 1 }
    return place
  }

  // MARK: Texts that must differ from others

  func stepUniqueArray(
    _ place: GrammarThread.UniquePlace, _ phase: GrammarThread.Phase, _ byte: UInt8, _ thread: GrammarThread,
    into result: inout GrammarStep
  ) {
    guard case .array(let array) = node(place.node) else { return }
    switch (phase, byte) {
    case (.opened, UInt8(ascii: "]")), (.afterPart, UInt8(ascii: "]")):
      if place.taken.count >= Int(array.minimum) { result.addEnded(thread, closing: 1) }
    case (.afterPart, UInt8(ascii: ",")):
      if uniqueItem(array, place) != nil { result.add(thread.with(.uniqueArray(place, .afterComma))) }
    case (.afterPart, _): return
    case (.afterComma, UInt8(ascii: " ")): result.add(thread.with(.uniqueArray(place, .afterSpace)))
    default:
      if let item = uniqueItem(array, place) { stepDistinct(item, byte, thread, into: &result) }
    }
  }

  /// The beginning of the next item; nil where there is none.
  private func uniqueItem(_ array: ArrayNode, _ place: GrammarThread.UniquePlace) -> GrammarThread.DistinctText? {
    guard place.taken.count < Int(array.maximum), let unique = array.unique,
      let automaton = unique[min(place.taken.count, array.prefix.count)]
    else { return nil }
    let taken = place.taken.map { $0[...] }
    guard automata[Int(automaton)].distance(0, avoiding: taken) != nil else { return nil }
    return GrammarThread.DistinctText(automaton: automaton, others: taken, context: .item(place))
  }

  func stepDistinct(
    _ text: GrammarThread.DistinctText, _ byte: UInt8, _ thread: GrammarThread, into result: inout GrammarStep
  ) {
    let automaton = automata[Int(text.automaton)]
    var next = text
    next.text.append(byte)
    if let state = automaton.step(text.state, byte) {
      next.state = state
      next.others = text.others.compactMap { $0.first == byte ? $0.dropFirst() : nil }
      if automaton.distance(state, avoiding: next.others) != nil {
        result.add(thread.with(automaton.isFinal(state) ? completed(next) : .distinct(next)))
      }
    }
    // Only what follows shows that a number is complete.
    if automaton.accepts(text.state) && !text.text.isEmpty && !text.others.contains(where: \.isEmpty) {
      step(thread.with(completed(text)), byte, into: &result)
    }
  }

  func completed(_ text: GrammarThread.DistinctText) -> GrammarThread.Frame {
    switch text.context {
    case .key(let place, let value):
      guard case .object(let object) = node(place.node) else { return .end }
      return .colon(taking(text.text, object, place), value)
    case .item(var place):
      place.taken.append(text.text)
      return .uniqueArray(place, .afterPart)
    }
  }
}
