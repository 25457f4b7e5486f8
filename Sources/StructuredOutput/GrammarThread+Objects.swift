/// How objects are read: properties in the order of the schema, optional ones or not, then other keys, each once.
extension Grammar {
  func stepObject(
    _ place: GrammarThread.ObjectPlace, _ phase: GrammarThread.Phase, _ byte: UInt8, _ thread: GrammarThread,
    into result: inout GrammarStep
  ) {
    guard case .object(let object) = node(place.node) else { return }
    switch (phase, byte) {
    case (.opened, UInt8(ascii: "}")), (.afterPart, UInt8(ascii: "}")):
      if object.nextRequired[Int(place.next)] == object.properties.count {
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
    return next > last ? [] : (next...last).filter { fits(object.properties[$0].value, depth: depth) }
  }

  private func freeValue(_ object: ObjectNode, _ place: GrammarThread.ObjectPlace, _ depth: Int32) -> NodeID? {
    guard object.nextRequired[Int(place.next)] == object.properties.count, let additional = object.additional else {
      return nil
    }
    return fits(additional, depth: depth) ? additional : nil
  }

  private func canGoOn(_ object: ObjectNode, _ place: GrammarThread.ObjectPlace, _ depth: Int32) -> Bool {
    freeValue(object, place, depth) != nil || !nextProperties(object, place, depth).isEmpty
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
  }

  func stepMember(_ byte: UInt8, _ thread: GrammarThread, into result: inout GrammarStep) {
    switch thread.top {
    case .property(var place, let index, let read):
      guard case .object(let object) = node(place.node) else { return }
      let property = object.properties[Int(index)]
      guard property.spelling[Int(read)] == byte else { return }
      if Int(read) + 1 == property.spelling.count {
        place.next = index + 1
        result.add(thread.with(.memberValue(place, property.value, allowsSpace: true)))
      } else {
        result.add(thread.with(.property(place, index: index, read: read + 1)))
      }
    case .freeKey(var place, let key, var state):
      switch state.step(byte) {
      case .rejected: return
      case .inside: result.add(thread.with(.freeKey(place, key: key + [byte], state)))
      case .closed:
        guard case .object(let object) = node(place.node) else { return }
        place.next = Int32(object.properties.count)
        place.freeKeys.append(key)
        result.add(thread.with(.colon(place)))
      }
    case .colon(let place):
      guard byte == UInt8(ascii: ":"), case .object(let object) = node(place.node), let value = object.additional else {
        return
      }
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
}
