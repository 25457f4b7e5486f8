/// What a text may be, as a graph of nodes: the compiled form of a JSON Schema.
struct Grammar: Sendable {
  typealias NodeID = Int32

  enum Node: Sendable {
    /// Any one of these.
    case alternatives([NodeID])
    /// One after the other.
    case sequence([NodeID])
    /// Exactly these bytes, at least one; `depth` brackets are open at most.
    case literal([UInt8], depth: Int)
    /// A JSON string whose number of characters is in this range.
    case string(minimum: Int32, maximum: Int32)
    case number(NumberFormat)
    /// The texts of an automaton, by its index, but the empty one.
    case automaton(Int32)
    case array(ArrayNode)
    case object(ObjectNode)
  }

  struct ArrayNode: Sendable {
    /// The first items, each with a node of its own; those after them are `items`.
    var prefix: [NodeID] = []
    let items: NodeID
    let minimum: Int32
    let maximum: Int32
    /// Where no two items may be equal: the automata of the first items and of those after them, nil for one without texts.
    var unique: [Int32?]?

    func item(_ index: Int) -> NodeID { index < prefix.count ? prefix[index] : items }
  }

  struct ObjectNode: Sendable {
    struct Property: Sendable {
      let key: [UInt8]
      /// The key as it is in the text, with quotes and colon.
      let spelling: [UInt8]
      let value: NodeID
      let isRequired: Bool
    }

    /// In the order in which they come.
    let properties: [Property]
    /// What values under other keys may be, which come last; nil when there may be none.
    var additional: NodeID?
    /// Other keys by what they are, instead of `additional`: each key is a text of one automaton, quotes included.
    var groups: [KeyGroup] = []
    /// The number of members.
    let minimum: Int32
    let maximum: Int32
    /// For each property and the end: the first required one from there on, or the number of properties.
    let nextRequired: [Int]
    /// For each property and the end: how many required ones come from there on.
    let requiredCounts: [Int]
    /// Whether the number of members matters.
    var isCounted: Bool { minimum > 0 || maximum < Int32.max }

    struct KeyGroup: Sendable {
      let automaton: Int32
      let value: NodeID
    }

    init(properties: [Property], additional: NodeID?, minimum: Int32 = 0, maximum: Int32 = Int32.max) {
      self.properties = properties
      self.additional = additional
      self.minimum = minimum
      self.maximum = maximum
      var next = [Int](repeating: properties.count, count: properties.count + 1)
      for index in properties.indices.reversed() {
        next[index] = properties[index].isRequired ? index : next[index + 1]
      }
      nextRequired = next
      var counts = [0]
      for property in properties.reversed() { counts.append(counts.last! + (property.isRequired ? 1 : 0)) }
      requiredCounts = counts.reversed()
    }
  }

  /// The greatest depth of open objects and arrays: half of what the project's own reader accepts.
  static let maximumDepth = 32

  let nodes: [Node]
  let root: NodeID
  let automata: [Automaton]
  /// For each automaton the number of its texts; nil where there are endless ones, or more than anybody counts.
  let textCounts: [Int?]
  /// Whether the text may be empty.
  let allowsEmpty: Bool
  private let lengths: ShortestLengths
  /// For each node, the bytes with which its texts may begin, and perhaps others.
  private let firstBytes: [ByteSet]

  /// Whether there is a text of the node at all.
  func isSatisfiable(_ id: NodeID) -> Bool { allowsEmpty || fits(id, depth: 0) }

  init(nodes: [Node], root: NodeID, automata: [Automaton] = [], allowsEmpty: Bool = false) {
    self.automata = automata
    textCounts = automata.map { $0.textCount(limit: Int(Int32.max)) }
    self.allowsEmpty = allowsEmpty
    let targets = Self.targets(nodes)
    let flat = nodes.indices.map { Self.flattened(NodeID($0), nodes, targets) }
    self.nodes = flat
    self.root = root
    lengths = ShortestLengths(flat, automata, textCounts)
    firstBytes = Self.firstBytes(flat, automata)
  }

  func node(_ id: NodeID) -> Node { nodes[Int(id)] }

  /// Whether the node can still be begun inside `depth` open objects and arrays.
  func fits(_ id: NodeID, depth: Int32) -> Bool { shortestLength(id, depth: depth) != .none }

  /// The length of the node's shortest text inside `depth` open objects and arrays.
  func shortestLength(_ id: NodeID, depth: Int32) -> TextLength {
    lengths.length(id, levels: Self.maximumDepth - Int(depth))
  }

  /// Whether a text of the node may begin with a byte; false only when it may not.
  func canBegin(_ id: NodeID, _ byte: UInt8) -> Bool { firstBytes[Int(id)].contains(byte) }

  /// For each node, where it leads when alternatives with a single choice are followed: to another node, or in a circle,
  /// to itself or one like it.
  private static func targets(_ nodes: [Node]) -> [NodeID] {
    var targets: [NodeID?] = Array(repeating: nil, count: nodes.count)
    for index in nodes.indices {
      var path: Set<NodeID> = []
      var node = NodeID(index)
      while targets[Int(node)] == nil, case .alternatives(let choices) = nodes[Int(node)], choices.count == 1,
        path.insert(node).inserted
      {
        node = choices[0]
      }
      let target = targets[Int(node)] ?? node
      targets[index] = target
      for passed in path { targets[Int(passed)] = target }
    }
    return targets.map { $0! }
  }

  /// Alternatives of alternatives as one list, which may have been endless.
  private static func flattened(_ id: NodeID, _ nodes: [Node], _ targets: [NodeID]) -> Node {
    guard case .alternatives = nodes[Int(id)] else { return nodes[Int(id)] }
    var found: [NodeID] = []
    var seen: Set<NodeID> = []
    var open = [targets[Int(id)]]
    while let next = open.popLast() {
      guard seen.insert(next).inserted else { continue }
      guard case .alternatives(let choices) = nodes[Int(next)] else {
        found.append(next)
        continue
      }
      for choice in choices.reversed() { open.append(targets[Int(choice)]) }
    }
    return .alternatives(found)
  }

  private static func firstBytes(_ nodes: [Node], _ automata: [Automaton]) -> [ByteSet] {
    func bytes(_ node: Node) -> ByteSet {
      switch node {
      // Their choices are no alternatives, and a sequence begins with neither.
      case .alternatives(let choices): choices.reduce(into: ByteSet()) { $0.formUnion(bytes(nodes[Int($1)])) }
      case .sequence(let parts): bytes(nodes[Int(parts[0])])
      case .literal(let text, _): ByteSet(text.prefix(1))
      case .string: ByteSet("\"".utf8)
      case .number: ByteSet("-0123456789".utf8)
      case .automaton(let index): ByteSet(automata[Int(index)].firstBytes)
      case .array: ByteSet("[".utf8)
      case .object: ByteSet("{".utf8)
      }
    }
    return nodes.map(bytes)
  }
}

/// A set of bytes.
private struct ByteSet: Sendable {
  private var words: SIMD4<UInt64> = .zero

  init(_ bytes: some Sequence<UInt8> = EmptyCollection()) {
    for byte in bytes { words[Int(byte >> 6)] |= 1 << UInt64(byte & 63) }
  }

  func contains(_ byte: UInt8) -> Bool { words[Int(byte >> 6)] >> UInt64(byte & 63) & 1 == 1 }

  mutating func formUnion(_ other: ByteSet) { words |= other.words }
}
