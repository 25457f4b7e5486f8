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
    _ expression: RegularExpression, _ spelling: Spelling, _ budget: inout CompilationBudget
  ) throws(AutomatonTooLarge) {
    var builder = PlaceBuilder(spelling)
    let end = try builder.add(expression, after: 0)
    try budget.spend(builder.edges.count / 8)
    let (places, edges) = (builder.places, builder.edges)
    var starts = [Bool](repeating: false, count: 257)
    for edge in edges {
      starts[Int(edge.bytes.lowerBound)] = true
      starts[Int(edge.bytes.upperBound) + 1] = true
    }
    let alphabet = Alphabet(starts: starts)
    let classCount = alphabet.representatives.count
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

    // The subset construction (Rabin and Scott 1959).
    let start = closure([0], atStart: true, atEnd: false)
    var states = [start]
    var indices: [[Int32]: Int32] = [:]
    var next: [Int32] = []
    var isEnd = [closure(start, atStart: true, atEnd: true).contains(end)]
    var index = 0
    while index < states.count {
      // The edges of all places, by the classes of bytes that they take.
      var open: [(first: Int, last: Int, target: Int32)] = []
      var isBound = [Bool](repeating: false, count: classCount + 1)
      for place in states[index] {
        for edge in edges[places[Int(place)].edges] {
          let first = Int(alphabet.classes[Int(edge.bytes.lowerBound)])
          let last = Int(alphabet.classes[Int(edge.bytes.upperBound)])
          isBound[first] = true
          isBound[last + 1] = true
          open.append((first, last, edge.target))
        }
      }
      var target: Int32 = -1
      for group in 0..<classCount {
        if isBound[group] {
          work += open.count / 4
          let targets = open.filter { $0.first <= group && group <= $0.last }.map(\.target)
          let state = targets.isEmpty ? [] : closure(targets, atStart: false, atEnd: false)
          if state.isEmpty {
            target = -1
          } else if let known = indices[state] {
            target = known
          } else {
            guard states.count < CompilationBudget.maximumStates else { throw AutomatonTooLarge() }
            target = Int32(states.count)
            indices[state] = target
            states.append(state)
            isEnd.append(closure(state, atStart: false, atEnd: true).contains(end))
          }
        }
        next.append(target)
      }
      try budget.spend(work + 2 * classCount)
      work = 0
      index += 1
    }
    self.init(classes: alphabet.classes, classCount: classCount, next: next, isEnd: isEnd)
  }
}

extension JSON {
  /// The bytes of a text inside a JSON string, as automata with that spelling read them.
  static func content(_ text: String) -> [UInt8] { Array(quoted(text).utf8.dropFirst().dropLast()) }
}

/// Makes an automaton that may be in several places at once (Thompson 1968).
private struct PlaceBuilder {
  struct Edge {
    let bytes: ClosedRange<UInt8>
    let target: Int32
  }

  struct Place {
    /// Of all edges, those that leave the place.
    var edges = 0..<0
    /// Places that are reached without reading.
    var jumps: [Int32] = []
    /// Those that are reached at the start, and at the end of the text only.
    var starts: [Int32] = []
    var ends: [Int32] = []
  }

  /// How the characters of a set are read: the edges of each place, of which place 0 is before a character and 1 after it.
  private typealias Reading = [[Edge]]

  private(set) var places = [Place()]
  private(set) var edges: [Edge] = []
  private let spelling: Automaton.Spelling
  private var readings: [ScalarSet: Reading] = [:]

  init(_ spelling: Automaton.Spelling) { self.spelling = spelling }

  private mutating func addPlace() throws(AutomatonTooLarge) -> Int32 {
    guard places.count < CompilationBudget.maximumPlaces else { throw AutomatonTooLarge() }
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
    guard count <= 4 * CompilationBudget.maximumPlaces, depth <= 1000 else { throw AutomatonTooLarge() }
    switch expression {
    case .set(let set):
      let reading = readings[set] ?? Self.reading(Self.spell(set, spelling))
      readings[set] = reading
      let end = try addPlace()
      // Those of the reading after the first two.
      let inner = Int32(places.count) - 2
      for _ in reading.dropFirst(2) { _ = try addPlace() }
      for (index, leaving) in reading.enumerated() where !leaving.isEmpty {
        guard edges.count + leaving.count <= CompilationBudget.maximumEdges else { throw AutomatonTooLarge() }
        let first = edges.count
        edges += leaving.map { Edge(bytes: $0.bytes, target: $0.target == 1 ? end : inner + $0.target) }
        places[Int(index == 0 ? start : inner + Int32(index))].edges = first..<edges.count
      }
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
      guard minimum <= CompilationBudget.maximumPlaces, maximum ?? 0 <= CompilationBudget.maximumPlaces else {
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

  /// How any of some texts of bytes is read: those that begin alike share their beginning, and those that go on alike share
  /// what follows.
  private static func reading(_ texts: [[ClosedRange<UInt8>]]) -> Reading {
    var result: Reading = [[], []]
    var known: [[[ClosedRange<UInt8>]]: Int32] = [[[]]: 1]
    func add(_ texts: [[ClosedRange<UInt8>]], from place: Int) {
      var order: [ClosedRange<UInt8>] = []
      var rests: [ClosedRange<UInt8>: [[ClosedRange<UInt8>]]] = [:]
      for text in texts {
        if rests[text[0]] == nil { order.append(text[0]) }
        rests[text[0], default: []].append(Array(text.dropFirst()))
      }
      for bytes in order {
        let rest = rests[bytes]!
        if let target = known[rest] {
          result[place].append(Edge(bytes: bytes, target: target))
        } else {
          known[rest] = Int32(result.count)
          result[place].append(Edge(bytes: bytes, target: Int32(result.count)))
          result.append([])
          add(rest, from: result.count - 1)
        }
      }
    }
    add(texts, from: 0)
    return result
  }

  /// The bytes of each scalar value of a set.
  private static func spell(_ set: ScalarSet, _ spelling: Automaton.Spelling) -> [[ClosedRange<UInt8>]] {
    guard spelling == .jsonString else { return set.ranges.flatMap { utf8($0) } }
    // Control characters, the quote and the backslash.
    let escaped = ScalarSet([0...0x1F, 0x22...0x22, 0x5C...0x5C])
    var result = set.intersection(escaped.inverted).ranges.flatMap { utf8($0) }
    for range in set.intersection(escaped).ranges {
      for value in range {
        result.append(JSON.content(String(Unicode.Scalar(value)!)).map { $0...$0 })
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
