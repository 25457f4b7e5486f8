/// A deterministic automaton over bytes: which texts there are, and from each state how near the end is.
///
/// State 0 is the start. From every state a text can be completed; an automaton without any text has no states.
struct Automaton: Sendable, Hashable {
  /// The class of each byte: bytes of one class are read alike everywhere.
  private let classes: [UInt8]
  private let classCount: Int
  /// For each state and class the next state, or −1.
  private let next: [Int32]
  /// For each state the least number of bytes to a text's end: 0 where it may end.
  let distances: [Int32]

  /// For each state whether a text that comes to it is complete and cannot go on.
  private let finals: [Bool]

  var stateCount: Int { distances.count }
  var isEmpty: Bool { distances.isEmpty }

  func step(_ state: Int32, _ byte: UInt8) -> Int32? {
    let target = target(state, byte)
    return target < 0 ? nil : target
  }

  /// The next state, or −1.
  func target(_ state: Int32, _ byte: UInt8) -> Int32 {
    next[Int(state) * classCount + Int(classes[Int(byte)])]
  }

  func accepts(_ state: Int32) -> Bool { distances[Int(state)] == 0 }

  /// Whether a text that comes to this state is complete and cannot go on.
  func isFinal(_ state: Int32) -> Bool { finals[Int(state)] }

  func matches(_ text: some Sequence<UInt8>) -> Bool {
    guard !isEmpty else { return false }
    var state: Int32 = 0
    for byte in text {
      guard let next = step(state, byte) else { return false }
      state = next
    }
    return accepts(state)
  }

  /// The number of bytes of the shortest text that is not empty; nil if there is none.
  var shortestText: Int? {
    isEmpty ? nil : next[0..<classCount].compactMap { $0 < 0 ? nil : 1 + Int(distances[Int($0)]) }.min()
  }

  /// The bytes with which texts begin.
  var firstBytes: [UInt8] { isEmpty ? [] : (0...255).filter { step(0, $0) != nil } }

  /// The number of texts, if it is at most `limit`; else nil.
  func textCount(limit: Int) -> Int? {
    var order: [Int] = []
    var marks = [UInt8](repeating: 0, count: stateCount)
    var open = isEmpty ? [] : [0]
    while let state = open.last {
      if marks[state] == 0 {
        marks[state] = 1
        for case let target in targets(state) where target >= 0 {
          if marks[Int(target)] == 1 { return nil }
          if marks[Int(target)] == 0 { open.append(Int(target)) }
        }
      } else {
        open.removeLast()
        if marks[state] == 1 { order.append(state) }
        marks[state] = 2
      }
    }
    var sizes = [Int](repeating: 0, count: classCount)
    for byte in classes { sizes[Int(byte)] += 1 }
    var counts = [Int](repeating: 0, count: stateCount)
    for state in order {
      var count = distances[state] == 0 ? 1 : 0
      for (group, target) in targets(state).enumerated() where target >= 0 {
        let (product, isTooLarge) = counts[Int(target)].multipliedReportingOverflow(by: sizes[group])
        count += product
        if isTooLarge || count > limit { return nil }
      }
      counts[state] = count
    }
    return counts.first ?? 0
  }

  private func targets(_ state: Int) -> ArraySlice<Int32> { next[state * classCount..<(state + 1) * classCount] }

  /// The least number of bytes with which a text goes on from a state and is none of `others`, of which only the rests from
  /// here on are given; nil if there is no such text.
  func distance(_ state: Int32, avoiding others: [ArraySlice<UInt8>]) -> Int? {
    if others.isEmpty { return Int(distances[Int(state)]) }
    var best: Int?
    var open = [(state, others, 0)]
    while let (state, others, read) = open.popLast() {
      if let best, best <= read { continue }
      if accepts(state) && !others.contains(where: \.isEmpty) {
        best = read
        continue
      }
      let groups = Dictionary(grouping: others.filter { !$0.isEmpty }, by: { $0.first! })
      for byte in UInt8.min...UInt8.max {
        guard let target = step(state, byte) else { continue }
        if let group = groups[byte] {
          open.append((target, group.map { $0.dropFirst() }, read + 1))
        } else {
          best = min(best ?? Int.max, read + 1 + Int(distances[Int(target)]))
        }
      }
    }
    return best
  }
}

/// More work than an automaton is worth: its text describes too many states.
struct AutomatonTooLarge: Error {}

/// What the automata of one request may cost together: about a tenth of a second and some megabytes.
struct AutomatonBudget {
  /// Steps of construction that are left.
  private(set) var work = 1_000_000
  static let maximumStates = 20_000
  /// States of the automaton before it is made deterministic.
  static let maximumPlaces = 60_000

  mutating func spend(_ steps: Int) throws(AutomatonTooLarge) {
    work -= steps
    if work < 0 { throw AutomatonTooLarge() }
  }
}

extension Automaton {
  /// The automaton of states that a machine reaches from one.
  ///
  /// - Parameters:
  ///   - alphabet: a byte of each class, and the class of each byte.
  ///   - step: the next state; nil where there is none.
  init<State: Hashable>(
    from start: State, alphabet: Alphabet, _ budget: inout AutomatonBudget, accepts: (State) -> Bool,
    step: (State, UInt8) -> State?
  ) throws(AutomatonTooLarge) {
    var indices = [start: Int32(0)]
    var states = [start]
    var next: [Int32] = []
    var index = 0
    while index < states.count {
      try budget.spend(2 * alphabet.representatives.count)
      let state = states[index]
      for byte in alphabet.representatives {
        guard let target = step(state, byte) else {
          next.append(-1)
          continue
        }
        if let known = indices[target] {
          next.append(known)
        } else {
          guard states.count < AutomatonBudget.maximumStates else { throw AutomatonTooLarge() }
          next.append(Int32(states.count))
          indices[target] = Int32(states.count)
          states.append(target)
        }
      }
      index += 1
    }
    self.init(
      classes: alphabet.classes, classCount: alphabet.representatives.count, next: next, isEnd: states.map(accepts))
  }

  /// Leaves out states from which no text ends, and merges those from which the same texts follow.
  private init(classes: [UInt8], classCount: Int, next: [Int32], isEnd: [Bool]) {
    let count = isEnd.count
    var distances = [Int32](repeating: -1, count: count)
    var sources = [[Int32]](repeating: [], count: count)
    for (index, target) in next.enumerated() where target >= 0 {
      sources[Int(target)].append(Int32(index / classCount))
    }
    var reached = isEnd.indices.filter { isEnd[$0] }
    for state in reached { distances[state] = 0 }
    var position = 0
    while position < reached.count {
      let state = reached[position]
      for source in sources[state] where distances[Int(source)] < 0 {
        distances[Int(source)] = distances[state] + 1
        reached.append(Int(source))
      }
      position += 1
    }
    guard count > 0, distances[0] >= 0 else {
      (self.classes, self.classCount, self.next, self.distances, finals) = (classes, classCount, [], [], [])
      return
    }
    // Moore's algorithm: blocks are split until the states of each go to the same blocks. Where that takes long, no states
    // are merged, which costs memory alone.
    var blocks = distances
    var blockCount = Set(blocks.lazy.filter { $0 >= 0 }).count
    for round in 0... {
      if round == 16 {
        blocks = (0..<Int32(count)).map { $0 }
        break
      }
      var found: [[Int32]: Int32] = [:]
      var refined = blocks
      var key = [Int32](repeating: 0, count: classCount + 1)
      for state in 0..<count where distances[state] >= 0 {
        key[0] = blocks[state]
        for group in 0..<classCount {
          let target = next[state * classCount + group]
          key[group + 1] = target < 0 ? -1 : blocks[Int(target)]
        }
        let block = found[key] ?? Int32(found.count)
        found[key] = block
        refined[state] = block
      }
      let isStable = found.count == blockCount
      blocks = refined
      blockCount = found.count
      if isStable { break }
    }
    // The start's block first.
    var names: [Int32: Int32] = [blocks[0]: 0]
    var members = [0]
    for state in 0..<count where distances[state] >= 0 && names[blocks[state]] == nil {
      names[blocks[state]] = Int32(members.count)
      members.append(state)
    }
    self.classes = classes
    self.classCount = classCount
    self.distances = members.map { distances[$0] }
    self.next = members.flatMap { state in
      (0..<classCount).map { group in
        let target = next[state * classCount + group]
        return target < 0 || distances[Int(target)] < 0 ? -1 : names[blocks[Int(target)]]!
      }
    }
    let rows = self.next
    finals = members.indices.map { row in
      rows[row * classCount..<(row + 1) * classCount].allSatisfy { $0 < 0 }
    }
  }

  /// The classes of bytes that several automata, or ranges, tell apart.
  struct Alphabet {
    let classes: [UInt8]
    let representatives: [UInt8]

    /// - Parameter starts: for each byte, whether something tells it apart from the byte before.
    init(starts: [Bool]) {
      var classes: [UInt8] = []
      var representatives: [UInt8] = []
      for byte in 0...255 {
        if byte == 0 || starts[byte] { representatives.append(UInt8(byte)) }
        classes.append(UInt8(representatives.count - 1))
      }
      (self.classes, self.representatives) = (classes, representatives)
    }

    init(_ automata: [Automaton]) {
      self.init(
        starts: (0...255).map { byte in
          byte > 0 && automata.contains { $0.classes[byte] != $0.classes[byte - 1] }
        })
    }
  }

  /// The texts of both automata.
  func intersection(_ other: Automaton, _ budget: inout AutomatonBudget) throws(AutomatonTooLarge) -> Automaton {
    if isEmpty { return self }
    if other.isEmpty { return other }
    return try Automaton(
      from: SIMD2<Int32>(0, 0), alphabet: Alphabet([self, other]), &budget,
      accepts: { self.accepts($0.x) && other.accepts($0.y) },
      step: { state, byte in
        guard let left = self.step(state.x, byte), let right = other.step(state.y, byte) else { return nil }
        return SIMD2(left, right)
      })
  }

  /// The texts of this automaton that are none of another.
  func subtracting(_ other: Automaton, _ budget: inout AutomatonBudget) throws(AutomatonTooLarge) -> Automaton {
    if isEmpty || other.isEmpty { return self }
    return try Automaton(
      from: SIMD2<Int32>(0, 0), alphabet: Alphabet([self, other]), &budget,
      accepts: { self.accepts($0.x) && ($0.y < 0 || !other.accepts($0.y)) },
      step: { state, byte in
        self.step(state.x, byte).map { SIMD2($0, state.y < 0 ? -1 : other.step(state.y, byte) ?? -1) }
      })
  }

  /// The texts of any of several automata.
  static func union(_ automata: [Automaton], _ budget: inout AutomatonBudget) throws(AutomatonTooLarge) -> Automaton {
    let parts = automata.filter { !$0.isEmpty }
    if parts.count <= 1 { return parts.first ?? automata.first ?? Automaton(texts: []) }
    return try Automaton(
      from: [Int32](repeating: 0, count: parts.count), alphabet: Alphabet(parts), &budget,
      accepts: { state in zip(parts, state).contains { $1 >= 0 && $0.accepts($1) } },
      step: { state, byte in
        let next = zip(parts, state).map { $1 < 0 ? -1 : $0.step($1, byte) ?? -1 }
        return next.contains { $0 >= 0 } ? next : nil
      })
  }

  /// The texts with a number of characters.
  ///
  /// - Parameter character: the texts of one character each, none of which begins another.
  func withLength(
    _ minimum: Int, _ maximum: Int?, character: Automaton, _ budget: inout AutomatonBudget
  ) throws(AutomatonTooLarge) -> Automaton {
    if isEmpty || minimum == 0 && maximum == nil { return self }
    let most = maximum ?? minimum
    return try Automaton(
      // The state of the text, that of its last character, and how many are complete.
      from: SIMD3<Int32>(0, 0, 0), alphabet: Alphabet([self, character]), &budget,
      accepts: { self.accepts($0.x) && $0.y == 0 && $0.z >= minimum },
      step: { state, byte in
        guard maximum == nil || state.z < most || state.y != 0, let text = self.step(state.x, byte),
          let part = character.step(state.y, byte)
        else { return nil }
        return character.accepts(part)
          ? SIMD3(text, 0, min(state.z + 1, Int32(clamping: most))) : SIMD3(text, part, state.z)
      })
  }

  /// The texts between quotes.
  func quoted() -> Automaton {
    let quote = UInt8(ascii: "\"")
    guard !isEmpty else { return self }
    // The quote must be a class of its own.
    var starts = (0...255).map { (byte: Int) -> Bool in byte > 0 && classes[byte] != classes[byte - 1] }
    starts[Int(quote)] = true
    starts[Int(quote) + 1] = true
    let alphabet = Alphabet(starts: starts)
    let (first, last) = (Int32(stateCount), Int32(stateCount + 1))
    var rows: [Int32] = []
    let order: [Int32] = [first] + Array(0..<first) + [last]
    for state in order {
      for byte in alphabet.representatives {
        switch state {
        case first: rows.append(byte == quote ? 1 : -1)
        case last: rows.append(-1)
        default:
          // States move by one, since the first one is new. A text that may end does not go on with a quote.
          let next: Int32 = step(state, byte).map { $0 + 1 } ?? -1
          rows.append(byte == quote && accepts(state) ? last : next)
        }
      }
    }
    var isEnd = [Bool](repeating: false, count: stateCount + 2)
    isEnd[stateCount + 1] = true
    return Automaton(
      classes: alphabet.classes, classCount: alphabet.representatives.count, next: rows, isEnd: isEnd)
  }

  /// A list of texts.
  init(texts: [[UInt8]]) {
    var starts = [Bool](repeating: false, count: 257)
    for byte in Set(texts.joined()) {
      starts[Int(byte)] = true
      starts[Int(byte) + 1] = true
    }
    let alphabet = Alphabet(starts: starts)
    let width = alphabet.representatives.count
    var next = [Int32](repeating: -1, count: width)
    var isEnd = [false]
    for text in texts {
      var state = 0
      for byte in text {
        let place = state * width + Int(alphabet.classes[Int(byte)])
        if next[place] < 0 {
          next[place] = Int32(isEnd.count)
          isEnd.append(false)
          next += [Int32](repeating: -1, count: width)
        }
        state = Int(next[place])
      }
      isEnd[state] = true
    }
    self.init(classes: alphabet.classes, classCount: width, next: next, isEnd: isEnd)
  }
}
