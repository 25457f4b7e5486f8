import Foundation
import Storage

/// The lines that were entered, the newest last, in a file that only its owner can read. A line break within one is written
/// as `\012`, a backslash as `\134`.
package struct LineHistory {
  /// The first line of the file, which libedit's history has too.
  private static let header = "_HiStOrY_V2_"
  private let path: String?
  private let limit: Int
  package private(set) var lines: [String] = []

  /// - Parameter path: nil, or one that cannot be read or written: the lines of this session are kept in memory.
  package init(path: String?, limit: Int) {
    self.path = path
    self.limit = limit
    guard let path, let data = FileManager.default.contents(atPath: path) else { return }
    let stored = String(decoding: data, as: UTF8.self).split(separator: "\n").map { Self.decoded($0) }
    lines = Array(stored.dropFirst(stored.first == Self.header ? 1 : 0).suffix(limit))
  }

  /// Adds a line, unless it repeats the last one, and writes the file.
  package mutating func add(_ line: String) {
    guard line != lines.last else { return }
    lines.append(line)
    lines.removeFirst(max(0, lines.count - limit))
    guard let path else { return }
    let text = ([Self.header] + lines.map(Self.encoded)).map { $0 + "\n" }.joined()
    try? AtomicFile.write(text, to: path)
    chmod(path, 0o600)
  }

  private static func encoded(_ line: String) -> String {
    line.replacingOccurrences(of: "\\", with: "\\134").replacingOccurrences(of: "\n", with: "\\012")
  }

  /// Bytes stand as `\` and three octal digits.
  private static func decoded(_ line: Substring) -> String {
    var result: [UInt8] = []
    var rest = Array(line.utf8)[...]
    while let byte = rest.popFirst() {
      let digits = rest.prefix(3)
      if byte == UInt8(ascii: "\\"), digits.count == 3, digits.allSatisfy({ 0x30...0x37 ~= $0 }),
        let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
      {
        result.append(value)
        rest = rest.dropFirst(3)
      } else {
        result.append(byte)
        // A backslash that libedit doubled.
        if byte == UInt8(ascii: "\\"), rest.first == byte { rest = rest.dropFirst() }
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}
