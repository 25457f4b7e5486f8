import Foundation

extension ProcessExchange {
  /// Compares what the processes are about to do. All ranks call this before they begin.
  ///
  /// - Parameters:
  ///   - facts: what must be alike, under names for the user.
  ///   - result: what they make together.
  ///   - advice: a sentence that says what to do.
  /// - Throws: `ProcessError` in all processes when one of them differs from the first one.
  package func requireSame(_ facts: [String: String], making result: String, advice: String) throws {
    if isAlone { return }
    let own = Array(try JSONEncoder().encode(facts))
    let texts = try exchange([[UInt8]](repeating: own, count: count), check: {})
    let all = try texts.map { try JSONDecoder().decode([String: String].self, from: Data($0)) }
    guard let rank = all.firstIndex(where: { $0 != all[0] }) else { return }
    let (found, expected) = (all[rank], all[0])
    let names = Set(found.keys).union(expected.keys).filter { found[$0] != expected[$0] }.sorted()
    let differences = names.map { "\($0) (\(found[$0] ?? "none") instead of \(expected[$0] ?? "none"))" }
    throw ProcessError(
      "process \(rank) would make another \(result) than process 0. It differs in "
        + "\(differences.joined(separator: ", ")). \(advice)")
  }
}
