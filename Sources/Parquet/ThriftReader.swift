/// Reads Thrift's compact protocol, in which Parquet writes what it says of itself. Nothing is believed: every length is
/// checked against the bytes that are there.
///
/// https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
struct ThriftReader {
  /// The type of a value, four bits.
  enum Kind: UInt8 {
    case yes = 1, no, byte, int16, int32, int64, double, binary, list, set, map, structure
  }

  /// Structures in structures that are passed over.
  private static let deepest = 32
  private static let longestText = 1 << 10

  private let bytes: UnsafeRawBufferPointer
  private(set) var position = 0

  init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

  private mutating func byte() throws(ParquetError) -> UInt8 {
    guard position < bytes.count else { throw .damaged("a description ends too early") }
    defer { position += 1 }
    return bytes[position]
  }

  private mutating func variable() throws(ParquetError) -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: 0 as UInt64, to: 64, by: 7) {
      let next = try byte()
      value |= UInt64(next & 0x7F) << shift
      if next & 0x80 == 0 { return value }
    }
    throw .damaged("a number in a description is too long")
  }

  private mutating func signed() throws(ParquetError) -> Int64 {
    let value = try variable()
    return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1)
  }

  private mutating func length() throws(ParquetError) -> Int {
    let count = try variable()
    guard count <= UInt64(bytes.count - position) else { throw .damaged("a length in a description is too large") }
    return Int(count)
  }

  private mutating func kind(_ code: UInt8) throws(ParquetError) -> Kind {
    guard let kind = Kind(rawValue: code) else { throw .damaged("a type in a description does not exist") }
    return kind
  }

  /// Reads a structure. `field` reads the value of a field it knows and says true, or leaves it and says false.
  mutating func structure(
    _ field: (inout ThriftReader, _ id: Int, Kind) throws(ParquetError) -> Bool
  ) throws(ParquetError) {
    var id = 0
    while true {
      let header = try byte()
      if header == 0 { return }
      if header >> 4 == 0 {
        let given = try signed()
        guard (0...Int64(Int16.max)).contains(given) else { throw .damaged("a field in a description has no number") }
        id = Int(given)
      } else {
        id += Int(header >> 4)
      }
      let kind = try kind(header & 15)
      if try !field(&self, id, kind) { try skip(kind, depth: 0) }
    }
  }

  mutating func integer(_ kind: Kind) throws(ParquetError) -> Int {
    switch kind {
    case .byte: Int(Int8(bitPattern: try byte()))
    case .int16, .int32, .int64: Int(try signed())
    default: throw .damaged("a number is missing in a description")
    }
  }

  func boolean(_ kind: Kind) throws(ParquetError) -> Bool {
    guard kind == .yes || kind == .no else { throw .damaged("a yes or no is missing in a description") }
    return kind == .yes
  }

  mutating func text(_ kind: Kind) throws(ParquetError) -> String {
    guard kind == .binary else { throw .damaged("a text is missing in a description") }
    let count = try length()
    guard count <= Self.longestText else {
      throw .unsupported("a name of \(count) bytes in a description, more than \(Self.longestText)")
    }
    defer { position += count }
    return String(decoding: bytes[position..<position + count], as: UTF8.self)
  }

  /// Reads a list of structures, each by `element`.
  ///
  /// - Parameters:
  ///   - limit: the most of them: in the file one may be a byte, and in memory it is more.
  ///   - what: they are, for messages.
  mutating func structures(
    _ kind: Kind, limit: Int, _ what: String, _ element: (inout ThriftReader) throws(ParquetError) -> Void
  ) throws(ParquetError) {
    guard kind == .list else { throw .damaged("a list is missing in a description") }
    let (count, kind) = try listHeader()
    guard count <= limit else { throw .unsupported("\(count) \(what), more than \(limit)") }
    guard kind == .structure || count == 0 else { throw .damaged("a list in a description holds something else") }
    for _ in 0..<count { try element(&self) }
  }

  mutating func texts(_ kind: Kind, limit: Int) throws(ParquetError) -> [String] {
    guard kind == .list else { throw .damaged("a list is missing in a description") }
    let (count, kind) = try listHeader()
    guard count <= limit else { throw .damaged("a list in a description is too long") }
    var texts: [String] = []
    for _ in 0..<count { texts.append(try text(kind)) }
    return texts
  }

  /// Passes over a structure.
  ///
  /// - Returns: where its bytes are.
  mutating func skippedStructure() throws(ParquetError) -> Range<Int> {
    let start = position
    try skip(.structure, depth: 0)
    return start..<position
  }

  private mutating func listHeader() throws(ParquetError) -> (count: Int, Kind) {
    let header = try byte()
    let count = header >> 4 == 15 ? try length() : Int(header >> 4)
    // An element takes a byte at least.
    guard count <= bytes.count - position else { throw .damaged("a list in a description is too long") }
    return (count, try kind(count == 0 && header & 15 == 0 ? Kind.byte.rawValue : header & 15))
  }

  mutating func skip(_ kind: Kind, depth: Int) throws(ParquetError) {
    guard depth < Self.deepest else { throw .damaged("a description is too deep") }
    switch kind {
    case .yes, .no: return
    case .byte: _ = try byte()
    case .int16, .int32, .int64: _ = try variable()
    case .double:
      guard bytes.count - position >= 8 else { throw .damaged("a description ends too early") }
      position += 8
    case .binary: position += try length()
    case .list, .set:
      let (count, kind) = try listHeader()
      for _ in 0..<count { try skipElement(kind, depth: depth + 1) }
    case .map:
      let count = try length()
      guard count > 0 else { return }
      let kinds = try byte()
      let (key, value) = (try self.kind(kinds >> 4), try self.kind(kinds & 15))
      for _ in 0..<count {
        try skipElement(key, depth: depth + 1)
        try skipElement(value, depth: depth + 1)
      }
    case .structure:
      while true {
        let header = try byte()
        if header == 0 { return }
        if header >> 4 == 0 { _ = try variable() }
        try skip(try self.kind(header & 15), depth: depth + 1)
      }
    }
  }

  /// In lists and maps a yes or no takes a byte.
  private mutating func skipElement(_ kind: Kind, depth: Int) throws(ParquetError) {
    if kind == .yes || kind == .no { _ = try byte() } else { try skip(kind, depth: depth) }
  }
}
