import Foundation
import Parquet

/// How a file is cut into rows.
package enum InputFormat: String, Codable, Sendable {
  /// A JSON value a line.
  case jsonLines = "jsonl"
  /// One array of objects, or objects one after another; each object is a row, over as many lines as it likes.
  case json
  /// RFC 4180, the first record naming the columns; fields are separated by commas, semicolons or tabs.
  case csv
  /// A document a line.
  case text
  /// One document.
  case wholeFile = "whole-file"
  /// One document, without the front matter.
  case markdown
  /// A table of columns; each row becomes an object.
  case parquet
  /// An archive of samples as WebDataset has it; each becomes an object.
  case tar

  /// Judged by the first bytes alone: the format of a file that is no text; nil for others.
  init?(binary head: [UInt8]) {
    if head.starts(with: ParquetRows.magic) {
      self = .parquet
    } else if head.count > 262, head[257..<262].elementsEqual("ustar".utf8) {
      self = .tar
    } else {
      return nil
    }
  }

  /// Whether rows are made of what is in the file, which is no text.
  var isBinary: Bool { self == .parquet || self == .tar }

  /// Whether a file is one document.
  var isWholeFile: Bool { self == .wholeFile || self == .markdown }

  /// The endings of data files' names; each may be followed by `.gz`, `.zst` or `.zstd`.
  package static let suffixes = [
    "jsonl", "ndjson", "json", "csv", "tsv", "txt", "text", "md", "markdown", "parquet", "tar",
  ]
  static let compressionSuffixes: Set<String> = ["gz", "zst", "zstd"]

  /// The format by suffix, and where the suffix says nothing (or `.json` could be two things) by the first bytes.
  package init(suffix: String, head: [UInt8]) {
    let start = head.starts(with: [0xEF, 0xBB, 0xBF]) ? head.dropFirst(3) : head[...]
    let visible = start.drop { $0 == 0x20 || (0x09...0x0D).contains($0) }
    func jsonFormat() -> InputFormat {
      guard visible.first == UInt8(ascii: "{") else { return .json }
      // An object that closes on its own line: a row a line. Otherwise it is written over several lines.
      let line = visible.prefix { $0 != 0x0A }
      let isWholeLine = line.count == visible.count || line.last { $0 > 0x20 } == UInt8(ascii: "}")
      return isWholeLine ? .jsonLines : .json
    }
    switch suffix {
    case "jsonl", "ndjson":
      let isOverLines = visible.starts(with: "{\n".utf8) || visible.starts(with: "{\r\n".utf8)
      self = visible.first == UInt8(ascii: "[") || isOverLines ? .json : .jsonLines
    case "json": self = visible.isEmpty ? .jsonLines : jsonFormat()
    case "csv", "tsv": self = .csv
    case "txt", "text": self = .text
    case "md", "markdown": self = .markdown
    default: self = Self.sniffed(start, visible) ?? (visible.first == UInt8(ascii: "{") ? jsonFormat() : .text)
    }
  }

  private static func sniffed(_ start: ArraySlice<UInt8>, _ visible: ArraySlice<UInt8>) -> InputFormat? {
    if visible.first == UInt8(ascii: "["), let next = visible.dropFirst().first(where: { $0 > 0x20 }),
      next == UInt8(ascii: "{")
    {
      return .json
    }
    let separator = separator(head: start)
    let firstLine = String(decoding: start.prefix { $0 != 0x0A && $0 != 0x0D }, as: UTF8.self)
    // A header has no space after its commas; a sentence has.
    let columns = Set(
      firstLine.split(separator: Character(Unicode.Scalar(separator))).map {
        $0.trimmingCharacters(in: CharacterSet(charactersIn: "\""))
      })
    return columns.count > 1 && (columns.contains("text") || columns.isSuperset(of: ["q", "a"])) ? .csv : nil
  }

  /// What separates the fields of the first line: of commas, semicolons and tabs outside quotes the most frequent.
  static func separator(head: ArraySlice<UInt8>) -> UInt8 {
    var counts: [UInt8: Int] = [:]
    var isQuoted = false
    for byte in head {
      if byte == .quote { isQuoted.toggle() }
      if byte == .newline && !isQuoted { break }
      if !isQuoted { counts[byte, default: 0] += 1 }
    }
    return [UInt8.comma, UInt8(ascii: ";"), UInt8(ascii: "\t")].max { counts[$0, default: 0] < counts[$1, default: 0] }!
  }
}
