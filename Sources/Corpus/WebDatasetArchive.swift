import Foundation
import Parquet
import Storage

/// The samples of an archive as WebDataset has them: files one after another whose names differ in their endings only. A picture
/// goes to `image_bytes`, `.txt` to `text`, and of `.json` the members are those of the row. Files of other endings become
/// fields that nothing reads, and are counted as such.
final class WebDatasetArchive: RowWriter {
  private static let pictures: Set<String> = ["jpg", "jpeg", "png", "webp"]
  private static let texts: Set<String> = ["txt", "text", "caption"]
  /// Bytes of a sample's files and names.
  private static let largestSample = 1 << 25

  private let archive: TarReader
  private let source: any ByteSource
  private let path: String
  private var next: Part?
  private var hasBegun = false

  /// A file of a sample.
  private struct Part {
    let key: String
    /// In lower case, after the first dot.
    let ending: String
    let member: TarReader.Member

    init(_ member: TarReader.Member) {
      self.member = member
      let name = member.name.utf8
      let last = name.lastIndex(of: UInt8(ascii: "/")).map(name.index(after:)) ?? name.startIndex
      let end = name[last...].firstIndex(of: UInt8(ascii: ".")) ?? name.endIndex
      key = String(member.name[..<end])
      ending = String(member.name[end...].dropFirst()).lowercased()
    }

    /// The last part of the ending: of `a.caption.txt` it is `txt`.
    var kind: String { ending.split(separator: ".").last.map(String.init) ?? "" }
    var isHidden: Bool { key.isEmpty || key.hasSuffix("/") }
  }

  /// What a sample has so far.
  private struct Sample {
    var object: [UInt8]?
    var fields: [(name: String, value: [UInt8])] = []
    var pictures: [[UInt8]] = []
  }

  init(_ source: any ByteSource, path: String) {
    self.source = source
    self.path = path
    archive = TarReader(source, path: path)
  }

  var fileBytesRead: Int { source.fileBytesRead }

  func appendRow(to line: inout [UInt8]) throws {
    if !hasBegun { try advance() }
    hasBegun = true
    guard let first = next else { return }
    var sample = Sample()
    var room = Self.largestSample
    while let part = next, part.key == first.key {
      try add(part, to: &sample, &room)
      try advance()
    }
    append(sample, to: &line)
  }

  /// Goes on to the next file that belongs to a sample.
  private func advance() throws {
    repeat { next = try archive.next().map(Part.init) } while next?.isHidden == true
  }

  private func add(_ part: Part, to sample: inout Sample, _ room: inout Int) throws {
    func content() throws -> [UInt8] {
      try take(part.member.byteCount)
      return try archive.content()
    }
    func take(_ count: Int) throws {
      guard count <= room else {
        throw CorpusError(
          "\(path): the sample of \(printable(part.member.name)) has more than \(Self.largestSample >> 20) MiB. Make its "
            + "files smaller, or give each sample a name of its own.")
      }
      room -= count
    }
    try take(part.member.name.utf8.count)
    switch part.kind {
    case let kind where Self.pictures.contains(kind):
      sample.pictures.append(Array("data:image/\(kind);base64,".utf8) + Data(try content()).base64EncodedData())
    case let kind where Self.texts.contains(kind):
      var text = try content()
      while text.last == .newline || text.last == .carriageReturn { text.removeLast() }
      sample.fields.append(("text", text))
    case "json":
      // Rows are lines, and between values a line's end is a space.
      sample.object = try content().map { $0 == .newline || $0 == .carriageReturn ? 0x20 : $0 }
    case let kind where InputFormat.suffixes.contains(kind) || InputFormat.compressionSuffixes.contains(kind):
      throw CorpusError(
        "\(path) is a tar archive with \(printable(part.member.name)) in it, and not one of samples. Unpack it first: "
          + "tar xf FILE")
    default:
      // With the dot it is no name under which anything is looked for.
      sample.fields.append(("." + part.ending, Array("\(part.member.byteCount) bytes".utf8)))
    }
  }

  private func append(_ sample: Sample, to line: inout [UInt8]) {
    let object = sample.object.map(Self.trimmed)
    if let object, object.count < 2 || object.first != UInt8(ascii: "{") || object.last != UInt8(ascii: "}") {
      // The reader of rows says what is wrong with it.
      line += object.isEmpty ? Array("null".utf8)[...] : object
      line.append(.newline)
      return
    }
    var members: [[UInt8]] = []
    if let inner = object?.dropFirst().dropLast(), inner.contains(where: { $0 > 0x20 }) { members.append(Array(inner)) }
    func member(_ name: String, _ value: (inout [UInt8]) -> Void) {
      var member: [UInt8] = []
      appendJSONText(name.utf8, to: &member)
      member.append(UInt8(ascii: ":"))
      value(&member)
      members.append(member)
    }
    for field in sample.fields { member(field.name) { appendJSONText(field.value, to: &$0) } }
    if !sample.pictures.isEmpty {
      member("image_bytes") { text in
        text.append(UInt8(ascii: "["))
        for (index, picture) in sample.pictures.enumerated() {
          if index > 0 { text.append(.comma) }
          appendJSONText(picture, to: &text)
        }
        text.append(UInt8(ascii: "]"))
      }
    }
    line.append(UInt8(ascii: "{"))
    line += members.joined(separator: [UInt8.comma])
    line += "}\n".utf8
  }

  /// Without white space at both ends.
  private static func trimmed(_ text: [UInt8]) -> ArraySlice<UInt8> {
    let rest = text.drop { $0 <= 0x20 }
    return rest[..<(rest.lastIndex { $0 > 0x20 }.map { $0 + 1 } ?? rest.startIndex)]
  }

  private func printable(_ name: String) -> String { Array(name.utf8).withUnsafeBytes { shortText($0) } }
}
