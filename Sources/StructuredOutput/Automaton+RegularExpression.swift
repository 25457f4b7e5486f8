import Storage

extension Automaton {
  /// How characters are written.
  enum Spelling: Sendable {
    /// As UTF-8.
    case plain
    /// As inside a JSON string: UTF-8, with the escapes that must be, as the project writes them.
    case jsonString
  }

  /// The automaton of the texts that match an expression as a whole.
  init(
    _ expression: RegularExpression, _ spelling: Spelling, _ budget: inout AutomatonBudget
  ) throws(AutomatonTooLarge) {
    var builder = PlaceBuilder(spelling)
    let end = try builder.add(expression, after: 0)
    let places = builder.places
    var starts = [Bool](repeating: false, count: 257)
    for place in places {
      for edge in place.edges {
        starts[Int(edge.bytes.lowerBound)] = true
        starts[Int(edge.bytes.upperBound) + 1] = true
      }
    }
    var marks = [Int32](repeating: -1, count: places.count)
    var mark: Int32 = 0
    var work = 0

    /// The places that are reached without reading anything, in order.
    func closure(_ open: [Int32], atStart: Bool, atEnd: Bool) -> [Int32] {
      mark += 1
      var open = open
      var result: [Int32] = []
      while let place = open.popLast() {
        guard marks[Int(place)] != mark else { continue }
        marks[Int(place)] = mark
        work += 1
        // A place that only leads on needs no room in the state.
        if !places[Int(place)].edges.isEmpty || place == end || !places[Int(place)].ends.isEmpty {
          result.append(place)
        }
        open += places[Int(place)].jumps
        if atStart { open += places[Int(place)].starts }
        if atEnd { open += places[Int(place)].ends }
      }
      return result.sorted()
    }

    let alphabet = Alphabet(starts: starts)
    let limit = budget.work
    let start = State(places: closure([0], atStart: true, atEnd: false), isStart: true)
    try self.init(
      from: start, alphabet: alphabet, &budget,
      accepts: { state in
        closure(state.places, atStart: state.isStart, atEnd: true).contains(end)
      },
      step: { state, byte in
        // Past the limit there are no more states; what was made then is thrown away below.
        if work > limit { return nil }
        var targets: [Int32] = []
        for place in state.places {
          for edge in places[Int(place)].edges where edge.bytes.contains(byte) { targets.append(edge.target) }
        }
        work += state.places.count
        if targets.isEmpty { return nil }
        return State(places: closure(targets, atStart: false, atEnd: false), isStart: false)
      })
    try budget.spend(work)
  }

  private struct State: Hashable {
    let places: [Int32]
    let isStart: Bool
  }
}

/// Makes an automaton that may be in several places at once (Thompson 1968).
private struct PlaceBuilder {
  struct Edge {
    let bytes: ClosedRange<UInt8>
    let target: Int32
  }

  struct Place {
    var edges: [Edge] = []
    /// Places that are reached without reading.
    var jumps: [Int32] = []
    /// Those that are reached at the start, and at the end of the text only.
    var starts: [Int32] = []
    var ends: [Int32] = []
  }

  private(set) var places = [Place()]
  private let spelling: Automaton.Spelling
  private var spellings: [ScalarSet: [[ClosedRange<UInt8>]]] = [:]

  init(_ spelling: Automaton.Spelling) { self.spelling = spelling }

  private mutating func addPlace() throws(AutomatonTooLarge) -> Int32 {
    guard places.count < AutomatonBudget.maximumPlaces else { throw AutomatonTooLarge() }
    places.append(Place())
    return Int32(places.count - 1)
  }

  /// Expressions that were added, of which many may be empty, and how deep they are inside each other.
  private var count = 0
  private var depth = 0

  /// - Returns: the place after the expression.
  mutating func add(_ expression: RegularExpression, after start: Int32) throws(AutomatonTooLarge) -> Int32 {
    count += 1
    depth += 1
    defer { depth -= 1 }
    guard count <= 4 * AutomatonBudget.maximumPlaces, depth <= 1000 else { throw AutomatonTooLarge() }
    switch expression {
    case .set(let set):
      let end = try addPlace()
      let texts = spellings[set] ?? Self.spell(set, spelling)
      spellings[set] = texts
      var known: [[[ClosedRange<UInt8>]]: Int32] = [:]
      try add(texts, from: start, to: end, &known)
      return end
    case .sequence(let parts):
      var place = start
      for part in parts { place = try add(part, after: place) }
      return place
    case .alternatives(let choices):
      let end = try addPlace()
      for choice in choices {
        let first = try addPlace()
        places[Int(start)].jumps.append(first)
        places[Int(try add(choice, after: first))].jumps.append(end)
      }
      return end
    case .repeated(let part, let minimum, let maximum):
      var place = start
      guard minimum <= AutomatonBudget.maximumPlaces, maximum ?? 0 <= AutomatonBudget.maximumPlaces else {
        throw AutomatonTooLarge()
      }
      for _ in 0..<minimum { place = try add(part, after: place) }
      let end = try addPlace()
      if let maximum {
        for _ in minimum..<maximum {
          places[Int(place)].jumps.append(end)
          // Of what may be left out, nothing may lead back into what comes before.
          let first = try addPlace()
          places[Int(place)].jumps.append(first)
          place = try add(part, after: first)
        }
        places[Int(place)].jumps.append(end)
      } else {
        let loop = try addPlace()
        places[Int(place)].jumps.append(loop)
        places[Int(loop)].jumps.append(end)
        places[Int(try add(part, after: loop))].jumps.append(loop)
      }
      return end
    case .textStart:
      let end = try addPlace()
      places[Int(start)].starts.append(end)
      return end
    case .textEnd:
      let end = try addPlace()
      places[Int(start)].ends.append(end)
      return end
    }
  }

  /// Leads from one place to another by any of some texts of bytes: those that begin alike share their beginning, and those
  /// that go on alike share what follows.
  private mutating func add(
    _ texts: [[ClosedRange<UInt8>]], from start: Int32, to end: Int32, _ known: inout [[[ClosedRange<UInt8>]]: Int32]
  ) throws(AutomatonTooLarge) {
    var order: [ClosedRange<UInt8>] = []
    var rests: [ClosedRange<UInt8>: [[ClosedRange<UInt8>]]] = [:]
    for text in texts {
      if rests[text[0]] == nil { order.append(text[0]) }
      rests[text[0], default: []].append(Array(text.dropFirst()))
    }
    for bytes in order {
      let rest = rests[bytes]!
      let target: Int32
      if rest == [[]] {
        target = end
      } else if let place = known[rest] {
        target = place
      } else {
        target = try addPlace()
        known[rest] = target
        try add(rest, from: target, to: end, &known)
      }
      places[Int(start)].edges.append(Edge(bytes: bytes, target: target))
    }
  }

  /// The bytes of each scalar value of a set.
  private static func spell(_ set: ScalarSet, _ spelling: Automaton.Spelling) -> [[ClosedRange<UInt8>]] {
    guard spelling == .jsonString else { return set.ranges.flatMap { utf8($0) } }
    // Control characters, the quote and the backslash.
    let escaped = ScalarSet([0...0x1F, 0x22...0x22, 0x5C...0x5C])
    var result = set.intersection(escaped.inverted).ranges.flatMap { utf8($0) }
    for range in set.intersection(escaped).ranges {
      for value in range {
        let quoted = JSON.quoted(String(Unicode.Scalar(value)!)).utf8.dropFirst().dropLast()
        result.append(quoted.map { $0...$0 })
      }
    }
    return result
  }

  /// A range of scalar values as ranges of bytes: split until each byte's range is independent of the others.
  private static func utf8(_ range: ClosedRange<UInt32>) -> [[ClosedRange<UInt8>]] {
    var result: [[ClosedRange<UInt8>]] = []
    var open = [range]
    while let range = open.popLast() {
      let (lower, upper) = (range.lowerBound, range.upperBound)
      // Texts of different lengths.
      if let limit = [0x7F, 0x7FF, 0xFFFF].first(where: { lower <= $0 && $0 < upper }) {
        open += [limit + 1...upper, lower...limit]
        continue
      }
      guard let first = Unicode.Scalar(lower), let last = Unicode.Scalar(upper) else { continue }
      // Where a byte but the last differs, the bytes after it must be free.
      var isSplit = false
      for shift in stride(from: UInt32(6), through: 18, by: 6) where lower >> shift != upper >> shift && upper > 0x7F {
        let mask = UInt32(1) << shift - 1
        if lower & mask != 0 {
          open += [(lower | mask) + 1...upper, lower...(lower | mask)]
          isSplit = true
        } else if upper & mask != mask {
          open += [upper & ~mask...upper, lower...(upper & ~mask) - 1]
          isSplit = true
        }
        if isSplit { break }
      }
      if !isSplit { result.append(zip(UTF8.encode(first)!, UTF8.encode(last)!).map { $0...$1 }) }
    }
    return result
  }
}
