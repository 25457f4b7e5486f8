/// Finds stop strings in text that comes in pieces, holding back what may be the beginning of one.
///
/// The stop string that is complete first ends the text, however it is cut into pieces; of two that end alike, the longer.
package struct StopFinder {
  private let stops: [[UInt8]]
  /// Text that is not released: it may yet become a stop string.
  private var held: [UInt8] = []
  /// The stop string that was found; it and everything after it is dropped.
  package private(set) var found: String?
  package var isFound: Bool { found != nil }

  package init(_ stops: [String]) { self.stops = stops.filter { !$0.isEmpty }.map { Array($0.utf8) } }

  /// Adds text and returns what may be shown of all text so far and was not shown before.
  package mutating func push(_ text: String) -> String {
    if isFound { return "" }
    if stops.isEmpty { return text }
    let checked = held.count
    held += text.utf8
    for end in checked..<held.count {
      let longest = stops.filter { held[...end].ends(with: $0) }.map(\.count).max()
      guard let longest else { continue }
      found = String(decoding: held[(end + 1 - longest)...end], as: UTF8.self)
      return release(end + 1 - longest)
    }
    let first = held.indices.first { start in stops.contains { $0.starts(with: held[start...]) } }
    return release(first ?? held.count)
  }

  /// What is left at the end: the beginning of a stop string that never came.
  package mutating func finish() -> String { isFound ? "" : release(held.count) }

  /// Releases the first `count` bytes. A stop string begins at a character, so they are whole characters.
  private mutating func release(_ count: Int) -> String {
    defer { held.removeFirst(count) }
    return String(decoding: held[..<count], as: UTF8.self)
  }
}

extension ArraySlice<UInt8> {
  fileprivate func ends(with end: [UInt8]) -> Bool { suffix(end.count).elementsEqual(end) }
}
