/// The states of a machine over bytes, found as they are met, with where each byte leads from them.
struct StateTable<State: Hashable> {
  private(set) var states: [State] = []
  private var indices: [State: Int32] = [:]
  /// For the first states and each byte the next state: −1 where there is none, −2 where that is not known.
  private var next: [Int32] = []
  private static var rememberedStates: Int { 1024 }

  /// The number of a state.
  mutating func index(of state: State) -> Int32 {
    if let known = indices[state] { return known }
    let index = Int32(states.count)
    indices[state] = index
    states.append(state)
    if index < Self.rememberedStates { next += repeatElement(-2, count: 256) }
    return index
  }

  /// The state after a byte; −1 where there is none.
  mutating func target(_ state: Int32, _ byte: UInt8, _ step: (State, UInt8) -> State?) -> Int32 {
    let place = Int(state) << 8 | Int(byte)
    if place < next.count, next[place] > -2 { return next[place] }
    let target = step(states[Int(state)], byte).map { index(of: $0) } ?? -1
    if place < next.count { next[place] = target }
    return target
  }
}
