extension GrammarThread {
  /// Where a thread continues when the part that it reads is complete: a link to the frames around it.
  ///
  /// Threads that read the same part inside different ones are one thread with several alternatives here: a
  /// graph-structured stack (Tomita, "Efficient Parsing for Natural Language", 1985). So the number of threads is bounded
  /// by the places in the grammar, however often alternatives are nested in alternatives.
  final class Link: Hashable, Sendable {
    struct Alternative: Hashable, Sendable {
      let frame: Frame
      let parent: Link?
    }

    let alternatives: [Alternative]
    /// How many links are around this one.
    let nesting: Int

    fileprivate init(_ alternatives: [Alternative]) {
      self.alternatives = alternatives
      nesting = 1 + (alternatives.lazy.compactMap { $0.parent?.nesting }.max() ?? 0)
    }

    /// A table keeps one object for equal links, so that comparing them compares addresses. Two equal ones of different
    /// tables cost time and change nothing.
    static func == (left: Link, right: Link) -> Bool { left === right }
    func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
  }

  /// The links of one grammar's threads.
  final class LinkTable {
    private var links: [[Link.Alternative]: Link] = [:]

    var count: Int { links.count }

    /// The link with these alternatives.
    func link(_ alternatives: [Link.Alternative]) -> Link {
      if let known = links[alternatives] { return known }
      let new = Link(alternatives)
      links[alternatives] = new
      return new
    }
  }
}

/// The ways in which one byte can be read, collected from all threads.
struct GrammarStep {
  private struct Place: Hashable {
    let node: Grammar.NodeID
    let depth: Int32
  }

  private struct Reading: Hashable {
    let top: GrammarThread.Frame
    let depth: Int32
  }

  private struct Ending: Hashable {
    let link: GrammarThread.Link?
    let depth: Int32
    /// Whether the byte is still to be read, by what follows the part that ends.
    let readsByte: Bool
  }

  private let links: GrammarThread.LinkTable
  private var threads: [GrammarThread] = []
  private var places: [Place] = []
  /// For each place, the links to continue at after it.
  private var alternatives: [Place: [GrammarThread.Link.Alternative]] = [:]
  private var endings: Set<Ending> = []

  init(_ links: GrammarThread.LinkTable) { self.links = links }

  mutating func add(_ thread: GrammarThread) { threads.append(thread) }

  /// The link for a part with a single frame around it.
  func link(_ frame: GrammarThread.Frame, _ parent: GrammarThread.Link?) -> GrammarThread.Link {
    links.link([.init(frame: frame, parent: parent)])
  }

  /// Begins a node with the byte; `frame` continues after the node. One node inside many frames is begun once.
  mutating func begin(
    _ node: Grammar.NodeID, inside frame: GrammarThread.Frame, _ parent: GrammarThread.Link?, depth: Int32
  ) {
    let place = Place(node: node, depth: depth)
    if alternatives[place] == nil { places.append(place) }
    alternatives[place, default: []].append(.init(frame: frame, parent: parent))
  }

  /// Adds the threads that continue after the part that a thread reads.
  mutating func addEnded(_ thread: GrammarThread, closing brackets: Int32 = 0) {
    threads += ended(thread, closing: brackets)
  }

  /// The threads that continue after the part that a thread reads, each once for all threads that end there.
  mutating func ended(
    _ thread: GrammarThread, closing brackets: Int32 = 0, readsByte: Bool = false
  ) -> [GrammarThread] {
    let depth = thread.depth - brackets
    guard endings.insert(Ending(link: thread.parent, depth: depth, readsByte: readsByte)).inserted else { return [] }
    return (thread.parent?.alternatives ?? []).map {
      GrammarThread(top: $0.frame, parent: $0.parent, depth: depth)
    }
  }

  /// All threads, those with the same top as one.
  mutating func finish(_ grammar: Grammar, _ byte: UInt8) -> [GrammarThread] {
    for place in places {
      grammar.start(place.node, byte, links.link(alternatives[place]!), depth: place.depth, into: &self)
    }
    if threads.count < 2 { return threads }
    var result: [GrammarThread] = []
    var parents: [[GrammarThread.Link?]] = []
    var indices: [Reading: Int] = [:]
    for thread in threads {
      let reading = Reading(top: thread.top, depth: thread.depth)
      if let index = indices[reading] {
        parents[index].append(thread.parent)
      } else {
        indices[reading] = result.count
        result.append(thread)
        parents.append([thread.parent])
      }
    }
    for index in result.indices where parents[index].contains(where: { $0 != result[index].parent }) {
      var seen: Set<GrammarThread.Link.Alternative> = []
      let all = parents[index].flatMap { $0?.alternatives ?? [] }
      result[index].parent = links.link(all.filter { seen.insert($0).inserted })
    }
    return result
  }
}
