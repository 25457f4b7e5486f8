import Foundation
import Storage

/// The files of a tar archive one after another, from front to back: ustar, pax and GNU's long names.
///
/// POSIX.1-2017, pax, "ustar Interchange Format". Nothing is written anywhere, so names are names only.
final class TarReader {
  struct Member {
    var name: String
    var byteCount: Int
  }

  private static let blockBytes = 512
  /// Of a name that has a member of its own.
  private static let longestName = 1 << 16

  private let source: any ByteSource
  private let path: String
  /// Bytes of the last member that have not been read, and those that fill its last block.
  private var left = 0
  private var padding = 0

  init(_ source: any ByteSource, path: String) {
    self.source = source
    self.path = path
  }

  /// The next regular file; nil at the end.
  ///
  /// - Throws: `CorpusError` for an archive that is damaged, or has members that are not read; what the source throws.
  func next() throws -> Member? {
    var longName: String?
    var paxName: String?
    var paxSize: Int?
    while true {
      try skip(left + padding)
      (left, padding) = (0, 0)
      guard let header = try block(), header.contains(where: { $0 != 0 }) else { return nil }
      guard number(header[148..<156]) == checksum(header) else { throw damaged("a header has another checksum") }
      guard let size = paxSize ?? number(header[124..<136]), (0...1 << 48).contains(size) else {
        throw damaged("a member has no size")
      }
      left = size
      padding = (Self.blockBytes - size % Self.blockBytes) % Self.blockBytes
      let name = paxName ?? longName ?? self.name(header)
      switch header[156] {
      case 0, UInt8(ascii: "0"), UInt8(ascii: "7"): return Member(name: name, byteCount: size)
      case UInt8(ascii: "x"):
        for (key, value) in try paxRecords() {
          if key == "path" { paxName = value }
          if key == "size" {
            guard let size = Int(value), size >= 0 else { throw damaged("a member has no size") }
            paxSize = size
          }
          guard !key.hasPrefix("GNU.sparse") else { throw unread(name, "a sparse file", "without --sparse") }
        }
      case UInt8(ascii: "L"): longName = String(decoding: try smallContent().prefix { $0 != 0 }, as: UTF8.self)
      case UInt8(ascii: "1"), UInt8(ascii: "2"):
        throw unread(name, "a link to another file", "--dereference --hard-dereference")
      case UInt8(ascii: "S"): throw unread(name, "a sparse file", "without --sparse")
      default: (longName, paxName, paxSize) = (nil, nil, nil)
      }
    }
  }

  /// The content of the member that `next` returned last.
  ///
  /// - Precondition: it has not been read.
  /// - Throws: as `next`.
  func content() throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: left)
    guard try fill(&bytes) == bytes.count else { throw damaged("it ends in the middle of a member") }
    left = 0
    return bytes
  }

  /// - Returns: nil at the end.
  private func block() throws -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: Self.blockBytes)
    switch try fill(&bytes) {
    case 0: return nil
    case Self.blockBytes: return bytes
    default: throw damaged("it ends in the middle of a header")
    }
  }

  private func fill(_ bytes: inout [UInt8]) throws -> Int {
    var count = 0
    while count < bytes.count {
      let got = try bytes.withUnsafeMutableBytes {
        try source.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[count...]))
      }
      if got == 0 { break }
      count += got
    }
    return count
  }

  private func skip(_ count: Int) throws {
    var rest = count
    var room = [UInt8](repeating: 0, count: min(rest, 1 << 16))
    while rest > 0 {
      if rest < room.count { room.removeLast(room.count - rest) }
      guard try fill(&room) == room.count else { throw damaged("it ends in the middle of a member") }
      rest -= room.count
    }
  }

  private func smallContent() throws -> [UInt8] {
    guard left <= Self.longestName else { throw damaged("a name is too long") }
    return try content()
  }

  /// `LENGTH KEY=VALUE` and a newline, one after another; the length is that of the whole line.
  private func paxRecords() throws -> [(String, String)] {
    var rest = try smallContent()[...]
    var records: [(String, String)] = []
    while let first = rest.first, first != 0 {
      let digits = rest.prefix { $0 != 0x20 }
      guard let count = Int(String(decoding: digits, as: UTF8.self)), count > digits.count + 1, count <= rest.count
      else {
        throw damaged("a record of a header is not one")
      }
      let record = rest.prefix(count).dropFirst(digits.count + 1).dropLast()
      guard let equals = record.firstIndex(of: UInt8(ascii: "=")) else {
        throw damaged("a record of a header is not one")
      }
      records.append(
        (String(decoding: record[..<equals], as: UTF8.self), String(decoding: record[(equals + 1)...], as: UTF8.self)))
      rest = rest.dropFirst(count)
    }
    return records
  }

  private func name(_ header: [UInt8]) -> String {
    func text(_ range: Range<Int>) -> String { String(decoding: header[range].prefix { $0 != 0 }, as: UTF8.self) }
    // GNU's own archives have other things where ustar has the beginning of a name.
    let prefix = header[257..<263].elementsEqual("ustar\0".utf8) ? text(345..<500) : ""
    return prefix.isEmpty ? text(0..<100) : prefix + "/" + text(0..<100)
  }

  /// Octal digits, or as GNU writes large numbers: a bit, and then the number itself. Nil for anything else.
  private func number(_ field: ArraySlice<UInt8>) -> Int? {
    if let first = field.first, first & 0x80 != 0 {
      guard first == 0x80, field.dropFirst().prefix(while: { $0 == 0 }).count >= field.count - 8 else { return nil }
      return field.dropFirst().reduce(0) { $0 << 8 | Int($1) } & Int.max
    }
    let digits = field.drop { $0 == 0x20 }.prefix { $0 != 0x20 && $0 != 0 }
    return digits.isEmpty ? 0 : Int(String(decoding: digits, as: UTF8.self), radix: 8)
  }

  private func checksum(_ header: [UInt8]) -> Int {
    header.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 0x20 : Int($1.element)) }
  }

  private func unread(_ name: String, _ what: String, _ how: String) -> CorpusError {
    let shown = Array(name.utf8).withUnsafeBytes { shortText($0) }
    return CorpusError(
      "\(path) is a tar archive in which \(shown) is \(what), which is not read. Pack it again: tar \(how)")
  }

  private func damaged(_ what: String) -> CorpusError {
    CorpusError("\(path) is a tar archive that is damaged or was copied in part: \(what).")
  }
}
