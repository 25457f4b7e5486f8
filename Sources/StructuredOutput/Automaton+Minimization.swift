extension Automaton {
  /// Leaves out states from which no text ends, and merges those from which the same texts follow.
  ///
  /// - Parameter next: for each state and class the next state, or −1.
  init(classes: [UInt8], classCount: Int, next: [Int32], isEnd: [Bool]) {
    let count = isEnd.count
    let distances = Self.distances(next, classCount, isEnd)
    guard count > 0, distances[0] >= 0 else {
      (self.classes, self.classCount, self.next, self.distances, finals) = (classes, classCount, [], [], [])
      return
    }
    let blocks = Self.blocks(next, classCount, distances)
    // The start's block first.
    var names = [Int32](repeating: -1, count: count)
    var members: [Int] = []
    for state in 0..<count where distances[state] >= 0 && names[Int(blocks[state])] < 0 {
      names[Int(blocks[state])] = Int32(members.count)
      members.append(state)
    }
    var rows: [Int32] = []
    rows.reserveCapacity(members.count * classCount)
    var finals: [Bool] = []
    for state in members {
      var isFinal = true
      for target in next[state * classCount..<(state + 1) * classCount] {
        let isDead = target < 0 || distances[Int(target)] < 0
        rows.append(isDead ? -1 : names[Int(blocks[Int(target)])])
        if !isDead { isFinal = false }
      }
      finals.append(isFinal)
    }
    self.classes = classes
    self.classCount = classCount
    self.distances = members.map { distances[$0] }
    self.next = rows
    self.finals = finals
  }

  /// For each state the least number of bytes to an end; −1 where there is none.
  private static func distances(_ next: [Int32], _ classCount: Int, _ isEnd: [Bool]) -> [Int32] {
    // The states that lead to each state, one list after the other.
    var ends = [Int32](repeating: 0, count: isEnd.count + 1)
    for target in next where target >= 0 { ends[Int(target)] += 1 }
    for state in isEnd.indices { ends[state + 1] += ends[state] }
    var sources = [Int32](repeating: 0, count: Int(ends[isEnd.count]))
    for (index, target) in next.enumerated() where target >= 0 {
      ends[Int(target)] -= 1
      sources[Int(ends[Int(target)])] = Int32(index / classCount)
    }
    var distances = [Int32](repeating: -1, count: isEnd.count)
    var reached = isEnd.indices.filter { isEnd[$0] }
    for state in reached { distances[state] = 0 }
    var position = 0
    while position < reached.count {
      let state = reached[position]
      for source in sources[Int(ends[state])..<Int(ends[state + 1])] where distances[Int(source)] < 0 {
        distances[Int(source)] = distances[state] + 1
        reached.append(Int(source))
      }
      position += 1
    }
    return distances
  }

  /// For each state the block of those from which the same texts follow.
  ///
  /// Moore's algorithm: blocks are split until the states of each go to the same blocks. Where that takes long, no states
  /// are merged, which costs memory alone.
  private static func blocks(_ next: [Int32], _ classCount: Int, _ distances: [Int32]) -> [Int32] {
    var blocks = distances
    var blockCount = Set(distances.lazy.filter { $0 >= 0 }).count
    // A table of blocks by a hash of what a state leads to, with a state of each block.
    var slotCount = 16
    while slotCount < 2 * distances.count { slotCount *= 2 }
    for _ in 0..<16 {
      var slots = [Int32](repeating: -1, count: slotCount)
      var examples: [Int] = []
      var refined = blocks
      for state in distances.indices where distances[state] >= 0 {
        let row = state * classCount
        var hash = UInt64(truncatingIfNeeded: Int(blocks[state]) + 1)
        for target in next[row..<row + classCount] {
          let block = target < 0 ? -1 : blocks[Int(target)]
          hash = (hash ^ UInt64(truncatingIfNeeded: Int(block))) &* 0x9E37_79B9_7F4A_7C15
          hash ^= hash >> 29
        }
        var slot = Int(truncatingIfNeeded: hash >> 20) & (slotCount - 1)
        search: while slots[slot] >= 0 {
          let other = examples[Int(slots[slot])]
          var isSame = blocks[other] == blocks[state]
          for group in 0..<classCount where isSame {
            let (left, right) = (next[row + group], next[other * classCount + group])
            isSame = (left < 0 ? -1 : blocks[Int(left)]) == (right < 0 ? -1 : blocks[Int(right)])
          }
          if isSame { break search }
          slot = (slot + 1) & (slotCount - 1)
        }
        if slots[slot] < 0 {
          slots[slot] = Int32(examples.count)
          examples.append(state)
        }
        refined[state] = slots[slot]
      }
      blocks = refined
      if examples.count == blockCount { return blocks }
      blockCount = examples.count
    }
    return distances.indices.map { Int32($0) }
  }
}
