/// Makes the engine's grammar of one in GBNF.
///
/// Parts without recursion become automata. The engine's nodes have no empty texts, so what may be empty is left out where
/// it is used: of each part there is the node of its other texts, and whether it may be empty.
struct GBNFCompiler {
  private typealias Expression = GBNF.Expression

  private struct Part {
    /// The texts that are not empty; nil if there are none.
    var node: Grammar.NodeID?
    var mayBeEmpty: Bool
  }

  private let rules: [String: GBNF.Expression]
  private let place: String
  private var nodes: [Grammar.Node] = []
  private var automata: [Automaton] = []
  private var budget = CompilationBudget()
  /// Rules that lead to themselves.
  private var recursive: Set<String> = []
  private var empty: Set<String> = []
  /// The rules without recursion, and the nodes of the others.
  private var regular: [String: RegularExpression] = [:]
  private var ruleNodes: [String: Grammar.NodeID] = [:]

  private static let maximumNodes = 4096
  /// Rules that begin with one another: how deep calls go.
  private static let maximumBeginnings = 400

  static func grammar(_ text: String, place: String) throws(StructuredOutputError) -> Grammar {
    let source: GBNF
    do throws(GBNFError) { source = try GBNF(text) } catch {
      let line = error.line.map { "line \($0): " } ?? ""
      throw StructuredOutputError(place: place, reason: "\(line)\(error.reason).")
    }
    var compiler = GBNFCompiler(rules: source.rules, place: place)
    return try compiler.compile()
  }

  private init(rules: [String: GBNF.Expression], place: String) {
    self.rules = rules
    self.place = place
  }

  private func failure(_ reason: String) -> StructuredOutputError {
    StructuredOutputError(place: place, reason: reason)
  }

  private mutating func compile() throws(StructuredOutputError) -> Grammar {
    findEmptyAndRecursive()
    for name in recursive.sorted() { ruleNodes[name] = try add(.alternatives([])) }
    for name in recursive.sorted() {
      if let node = try part(rules[name]!).node { nodes[Int(ruleNodes[name]!)] = .alternatives([node]) }
    }
    let root = try part(.rule("root"))
    let node: Grammar.NodeID
    if let found = root.node { node = found } else { node = try add(.alternatives([])) }
    try refuseLeftRecursion()
    let grammar = Grammar(nodes: nodes, root: node, automata: automata, allowsEmpty: root.mayBeEmpty)
    guard grammar.isSatisfiable(node) else { throw failure("no text matches the grammar.") }
    return grammar
  }

  // MARK: Rules

  /// The rules that a rule names.
  private static func names(_ expression: Expression, into names: inout Set<String>) {
    switch expression {
    case .set: break
    case .rule(let name): names.insert(name)
    case .sequence(let parts), .alternatives(let parts): for part in parts { self.names(part, into: &names) }
    case .repeated(let part, _, _): self.names(part, into: &names)
    }
  }

  private mutating func findEmptyAndRecursive() {
    var changes = true
    while changes {
      changes = false
      for (name, expression) in rules where !empty.contains(name) && mayBeEmpty(expression) {
        empty.insert(name)
        changes = true
      }
    }
    let named = rules.mapValues { expression in
      var names: Set<String> = []
      Self.names(expression, into: &names)
      return names
    }
    // A rule is left when all that it names have been left: what remains leads to a circle.
    var users: [String: [String]] = [:]
    var open: [String: Int] = [:]
    for (name, names) in named {
      open[name] = names.count
      for other in names { users[other, default: []].append(name) }
    }
    var free = open.filter { $0.value == 0 }.map(\.key).sorted()
    while let name = free.popLast() {
      open[name] = nil
      regular[name] = regularExpression(rules[name]!)
      for user in users[name] ?? [] {
        open[user]! -= 1
        if open[user] == 0 { free.append(user) }
      }
    }
    recursive = Set(open.keys)
  }

  private func mayBeEmpty(_ expression: Expression) -> Bool {
    switch expression {
    case .set: false
    case .rule(let name): empty.contains(name)
    case .sequence(let parts): parts.allSatisfy(mayBeEmpty)
    case .alternatives(let choices): choices.contains(where: mayBeEmpty)
    case .repeated(let part, let minimum, _): minimum == 0 || mayBeEmpty(part)
    }
  }

  /// The expression without names of rules; nil where it is not regular.
  private func regularExpression(_ expression: Expression) -> RegularExpression? {
    func all(_ parts: [Expression]) -> [RegularExpression]? {
      let found = parts.compactMap(regularExpression)
      return found.count == parts.count ? found : nil
    }
    switch expression {
    case .set(let set): return .set(set)
    case .rule(let name): return regular[name]
    case .sequence(let parts): return all(parts).map { .sequence($0) }
    case .alternatives(let choices): return all(choices).map { .alternatives($0) }
    case .repeated(let part, let minimum, let maximum):
      return regularExpression(part).map { .repeated($0, minimum: minimum, maximum: maximum) }
    }
  }

  // MARK: Nodes

  private mutating func add(_ node: Grammar.Node) throws(StructuredOutputError) -> Grammar.NodeID {
    guard nodes.count < Self.maximumNodes else {
      throw failure("the grammar is too large: more than \(Self.maximumNodes) parts.")
    }
    nodes.append(node)
    return Grammar.NodeID(nodes.count - 1)
  }

  /// The automaton of a regular expression; nil where it has too many states to be one.
  private mutating func automaton(_ expression: RegularExpression) throws(StructuredOutputError) -> Part? {
    do throws(AutomatonTooLarge) {
      let automaton = try Automaton(expression, .plain, &budget)
      let mayBeEmpty = !automaton.isEmpty && automaton.accepts(0)
      guard automaton.shortestText != nil else { return Part(node: nil, mayBeEmpty: mayBeEmpty) }
      automata.append(automaton)
      return Part(node: try addAutomaton(), mayBeEmpty: mayBeEmpty)
    } catch { return nil }
  }

  private mutating func addAutomaton() throws(AutomatonTooLarge) -> Grammar.NodeID {
    guard nodes.count < Self.maximumNodes else { throw AutomatonTooLarge() }
    nodes.append(.automaton(Int32(automata.count - 1)))
    return Grammar.NodeID(nodes.count - 1)
  }

  private mutating func part(_ expression: Expression) throws(StructuredOutputError) -> Part {
    if let regular = regularExpression(expression) {
      guard let part = try automaton(regular) else {
        throw failure("the grammar takes too many states. Say less, or smaller counts.")
      }
      return part
    }
    switch expression {
    case .set: return Part(node: nil, mayBeEmpty: false)
    case .rule(let name): return Part(node: ruleNodes[name], mayBeEmpty: empty.contains(name))
    case .sequence(let parts):
      var result = Part(node: nil, mayBeEmpty: true)
      // From the end, so that each part is followed by a single one; neighbours without recursion are one automaton.
      for group in grouped(parts).reversed() { result = try sequence(try part(group), result) }
      return result
    case .alternatives(let choices):
      var nodes: [Grammar.NodeID] = []
      var mayBeEmpty = false
      let isRegular = choices.map { regularExpression($0) != nil }
      let plain = zip(choices, isRegular).filter(\.1).map(\.0)
      for choice in (plain.isEmpty ? [] : [.alternatives(plain)]) + zip(choices, isRegular).filter({ !$0.1 }).map(\.0) {
        let part = try part(choice)
        mayBeEmpty = mayBeEmpty || part.mayBeEmpty
        if let node = part.node { nodes.append(node) }
      }
      return Part(node: nodes.isEmpty ? nil : try add(.alternatives(nodes)), mayBeEmpty: mayBeEmpty)
    case .repeated(let inner, let minimum, let maximum):
      let part = try part(inner)
      guard let node = part.node else { return Part(node: nil, mayBeEmpty: minimum == 0 || part.mayBeEmpty) }
      var result = Part(node: nil, mayBeEmpty: true)
      if let maximum {
        for _ in minimum..<maximum {
          result = try sequence(part, result)
          result.mayBeEmpty = true
        }
      } else {
        // One, or one and more of them.
        let more = try add(.alternatives([]))
        let pair = try add(.sequence([node, more]))
        nodes[Int(more)] = .alternatives([node, pair])
        result.node = more
      }
      for _ in 0..<minimum { result = try sequence(part, result) }
      return result
    }
  }

  /// Neighbours without recursion as one part.
  private func grouped(_ parts: [Expression]) -> [Expression] {
    var result: [Expression] = []
    var plain: [Expression] = []
    for part in parts {
      if regularExpression(part) != nil {
        plain.append(part)
        continue
      }
      if !plain.isEmpty { result.append(.sequence(plain)) }
      plain = []
      result.append(part)
    }
    if !plain.isEmpty { result.append(.sequence(plain)) }
    return result
  }

  private mutating func sequence(_ first: Part, _ rest: Part) throws(StructuredOutputError) -> Part {
    var choices: [Grammar.NodeID] = []
    if let left = first.node, let right = rest.node { choices.append(try add(.sequence([left, right]))) }
    if let left = first.node, rest.mayBeEmpty { choices.append(left) }
    if let right = rest.node, first.mayBeEmpty { choices.append(right) }
    let node: Grammar.NodeID? =
      choices.isEmpty ? nil : choices.count == 1 ? choices[0] : try add(.alternatives(choices))
    return Part(node: node, mayBeEmpty: first.mayBeEmpty && rest.mayBeEmpty)
  }

  /// A rule that begins with itself would be begun without end.
  private func refuseLeftRecursion() throws(StructuredOutputError) {
    func beginnings(_ node: Int) -> [Int] {
      switch nodes[node] {
      case .alternatives(let choices): choices.map(Int.init)
      case .sequence(let parts): [Int(parts[0])]
      default: []
      }
    }
    // 0: not met; −1: being visited; else how deep the beginnings go.
    var depths = [Int](repeating: 0, count: nodes.count)
    for start in nodes.indices where depths[start] == 0 {
      var open = [start]
      while let node = open.last {
        if depths[node] == 0 {
          depths[node] = -1
          for next in beginnings(node) {
            guard depths[next] != -1 else {
              throw failure("a rule begins with itself (left recursion); write what comes first first.")
            }
            if depths[next] == 0 { open.append(next) }
          }
        } else {
          open.removeLast()
          if depths[node] == -1 { depths[node] = 1 + (beginnings(node).map { depths[$0] }.max() ?? 0) }
          guard depths[node] <= Self.maximumBeginnings else {
            throw failure("more than \(Self.maximumBeginnings) rules begin with one another.")
          }
        }
      }
    }
  }
}
