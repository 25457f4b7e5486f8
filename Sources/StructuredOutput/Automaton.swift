/// A deterministic automaton over bytes: which texts there are, and from each state how near the end is.
///
/// State 0 is the start. From every state a text can be completed; an automaton without any text has no states.
struct Automaton: Sendable, Hashable {
  /// The class of each byte: bytes of one class are read alike everywhere.
  let classes: [UInt8]
  let classCount: Int
  /// For each state and class the next state, or −1.
  let next: [Int32]
  /// For each state the least number of bytes to a text's end: 0 where it may end.
  let distances: [Int32]

  /// For each state whether a text that comes to it is complete and cannot go on.
  let finals: [Bool]

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

extension Automaton {
  /// The automaton of states that a machine reaches from one.
  ///
  /// - Parameters:
  ///   - alphabet: a byte of each class, and the class of each byte.
  ///   - step: the next state; nil where there is none.
  init<State: Hashable>(
    from start: State, alphabet: Alphabet, _ budget: inout CompilationBudget, accepts: (State) -> Bool,
    step: (State, UInt8) -> State?
  ) throws(AutomatonTooLarge) {
    var indices = [start: Int32(0)]
    var states = [start]
    var next: [Int32] = []
    var index = 0
    while index < states.count {
      try budget.spend(3 * alphabet.representatives.count)
      let state = states[index]
      for byte in alphabet.representatives {
        guard let target = step(state, byte) else {
          next.append(-1)
          continue
        }
        if let known = indices[target] {
          next.append(known)
        } else {
          guard states.count < CompilationBudget.maximumStates else { throw AutomatonTooLarge() }
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
  func intersection(_ other: Automaton, _ budget: inout CompilationBudget) throws(AutomatonTooLarge) -> Automaton {
    if isEmpty { return self }
    if other.isEmpty { return other }
    return try product(other, &budget, goesOn: { $0 >= 0 && $1 >= 0 }, accepts: { $0 && $1 })
  }

  /// The texts of this automaton that are none of another.
  func subtracting(_ other: Automaton, _ budget: inout CompilationBudget) throws(AutomatonTooLarge) -> Automaton {
    if isEmpty || other.isEmpty { return self }
    return try product(other, &budget, goesOn: { left, _ in left >= 0 }, accepts: { $0 && !$1 })
  }

  /// The texts of either automaton.
  func union(_ other: Automaton, _ budget: inout CompilationBudget) throws(AutomatonTooLarge) -> Automaton {
    if isEmpty || other == self { return other }
    if other.isEmpty { return self }
    return try product(other, &budget, goesOn: { $0 >= 0 || $1 >= 0 }, accepts: { $0 || $1 })
  }

  /// An automaton that reads with two at once.
  ///
  /// - Parameters:
  ///   - goesOn: whether a text goes on in these states, of which −1 is none.
  ///   - accepts: whether a text may end, by whether it may in each of them.
  private func product(
    _ other: Automaton, _ budget: inout CompilationBudget, goesOn: (Int32, Int32) -> Bool, accepts: (Bool, Bool) -> Bool
  ) throws(AutomatonTooLarge) -> Automaton {
    func states(_ pair: Int64) -> (left: Int32, right: Int32) {
      (Int32(truncatingIfNeeded: pair >> 32), Int32(truncatingIfNeeded: pair))
    }
    return try Automaton(
      from: Int64(0), alphabet: Alphabet([self, other]), &budget,
      accepts: { pair in
        let (left, right) = states(pair)
        return accepts(left >= 0 && self.accepts(left), right >= 0 && other.accepts(right))
      },
      step: { pair, byte in
        let (left, right) = states(pair)
        let next = (left < 0 ? -1 : self.target(left, byte), right < 0 ? -1 : other.target(right, byte))
        return goesOn(next.0, next.1) ? Int64(next.0) << 32 | Int64(UInt32(bitPattern: next.1)) : nil
      })
  }

  /// The texts with a number of characters.
  ///
  /// - Parameter character: the texts of one character each, none of which begins another.
  func withLength(
    _ minimum: Int, _ maximum: Int?, character: Automaton, _ budget: inout CompilationBudget
  ) throws(AutomatonTooLarge) -> Automaton {
    if isEmpty || minimum == 0 && maximum == nil { return self }
    let alphabet = Alphabet([self, character])
    // Each number of characters takes states of its own. Where there is room for many, longer texts are left out.
    let room = CompilationBudget.counting / (alphabet.representatives.count * stateCount)
    var most = maximum ?? minimum
    if room >= 64 { most = min(most, max(minimum, Int(distances[0]), room)) }
    // The state of the text in 24 bits, that of its last character in 8, and how many are complete in 32.
    func parts(_ state: Int64) -> (text: Int32, part: Int32, count: Int64) {
      (Int32(truncatingIfNeeded: state >> 40), Int32(state >> 32 & 0xFF), state & 0xFFFF_FFFF)
    }
    return try Automaton(
      from: Int64(0), alphabet: alphabet, &budget,
      accepts: { state in
        let (text, part, count) = parts(state)
        return self.accepts(text) && part == 0 && count >= minimum
      },
      step: { state, byte in
        let (text, part, count) = parts(state)
        guard maximum == nil || count < most || part != 0, let text = self.step(text, byte),
          let part = character.step(part, byte)
        else { return nil }
        let rest =
          character.accepts(part) ? min(count + 1, Int64(clamping: most)) : Int64(part) << 32 | count
        return Int64(text) << 40 | rest
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
    // The opening quote comes first, so that states move by one.
    let last = Int32(stateCount + 1)
    var rows: [Int32] = alphabet.representatives.map { $0 == quote ? 1 : -1 }
    for state in 0..<Int32(stateCount) {
      for byte in alphabet.representatives {
        // A text that may end does not go on with a quote.
        let next = target(state, byte)
        rows.append(byte == quote && accepts(state) ? last : next < 0 ? -1 : next + 1)
      }
    }
    rows += repeatElement(-1, count: alphabet.representatives.count)
    return Automaton(
      classes: alphabet.classes, classCount: alphabet.representatives.count, next: rows,
      distances: [distances[0] + 2] + distances.map { $0 + 1 } + [0],
      finals: [Bool](repeating: false, count: stateCount + 1) + [true])
  }

  /// A list of texts.
  init(texts: [[UInt8]], _ budget: inout CompilationBudget) throws(AutomatonTooLarge) {
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
          try budget.spend(width / 4)
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
