/// Rows that could not be read: how many of each file and for what reason, with the first of each.
package struct BrokenRows: Sendable, Equatable, Codable {
  /// Broken rows of one file whose reasons differ in names and numbers at most.
  struct Kind: Hashable, Comparable, Codable, Sendable {
    let file: String
    let reason: String

    static func < (left: Kind, right: Kind) -> Bool { (left.file, left.reason) < (right.file, right.reason) }
  }

  /// Of one file.
  private struct FileCount: Sendable, Equatable, Codable {
    var read = 0
    var broken = 0
  }

  private var kinds = Tally<Kind>()
  private var files: [String: FileCount] = [:]
  /// The first broken row of all.
  private(set) var first: Tally<Kind>.Example?

  package init() {}

  package var count: Int { kinds.count }

  /// Counts rows that were looked at, broken ones among them.
  package mutating func read(_ count: Int, of file: String) { files[file, default: FileCount()].read += count }

  /// - Parameter block: the block of the row, which puts the rows of several blocks in order.
  package mutating func add(_ reason: String, file: String, line: Int, block: Int = 0) {
    let example = Tally<Kind>.Example(file: file, line: line, text: reason, block: block)
    kinds.add(Kind(file: file, reason: Self.withoutNames(reason)), example)
    files[file, default: FileCount()].broken += 1
    first = first ?? example
  }

  /// A reason without what differs from row to row: the texts in quotes, and numbers.
  private static func withoutNames(_ reason: String) -> String {
    var isQuoted = false
    return String(
      decoding: reason.utf8.filter { byte in
        if byte == .quote { isQuoted.toggle() }
        return !isQuoted && !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
      }, as: UTF8.self)
  }

  /// Adds those of other blocks.
  mutating func add(_ other: BrokenRows) {
    kinds.add(other.kinds)
    for (file, count) in other.files {
      files[file, default: FileCount()].read += count.read
      files[file, default: FileCount()].broken += count.broken
    }
    guard let candidate = other.first else { return }
    if let first, (first.block, first.line) <= (candidate.block, candidate.line) { return }
    first = candidate
  }

  /// Corrects the lines of rows that were counted from the start of their block.
  mutating func place(inBlock block: Int, afterLines lines: Int) {
    kinds.place(inBlock: block, afterLines: lines)
    first?.block = block
    first?.line += lines
  }

  /// One line a file and reason, the commonest first: `file: 7 of 9 rows, the first in line 2: reason`.
  package var messages: [String] {
    kinds.sorted.map { kind, entry in
      guard entry.count > 1 else { return "\(kind.file):\(entry.first.line): \(entry.first.text)" }
      let read = max(files[kind.file]?.read ?? 0, entry.count)
      return "\(kind.file): \(entry.count) of \(read) rows, the first in line \(entry.first.line): \(entry.first.text)"
    }
  }

  /// - Throws: `CorpusError` for a file of which more than half cannot be read: its format was judged wrongly, then, and the
  ///   rows that remain are no fair sample of it.
  package func checkFiles() throws(CorpusError) {
    let lost = files.filter { $1.broken * 2 > $1.read }.keys.sorted()
    guard let file = lost.first, let counts = files[file] else { return }
    let commonest = kinds.sorted.first { $0.key.file == file }
    let others = lost.count > 1 ? " So it is with \(lost.count - 1) other \(lost.count > 2 ? "files" : "file")." : ""
    throw CorpusError(
      "\(file): \(counts.broken) of \(counts.read) \(counts.read == 1 ? "row" : "rows") cannot be read"
        + (commonest.map { ", as line \($0.entry.first.line): \($0.entry.first.text)" } ?? "")
        + ". More than half of a file is too much to leave out; nothing was written.\(others)")
  }
}
