/// What stands before the bytes of a page.
struct PageHeader {
  enum Kind: Int { case data, index, dictionary, dataV2 }

  private(set) var kind = -1
  private(set) var byteCount = -1
  private(set) var compressedByteCount = -1
  private(set) var valueCount = -1
  private(set) var encoding = -1
  private(set) var definitionEncoding = Encoding.runs.rawValue
  private(set) var repetitionEncoding = Encoding.runs.rawValue
  /// Bytes of the levels before the values, of a page of the second version.
  private(set) var definitionByteCount = 0
  private(set) var repetitionByteCount = 0
  private(set) var isCompressed = true
  /// Bytes of the header itself.
  private(set) var headerByteCount = 0

  init(_ bytes: UnsafeRawBufferPointer) throws(ParquetError) {
    var reader = ThriftReader(bytes)
    var header = PageHeader()
    try reader.structure { (reader, id, kind) throws(ParquetError) in
      switch id {
      case 1: header.kind = try reader.integer(kind)
      case 2: header.byteCount = try reader.integer(kind)
      case 3: header.compressedByteCount = try reader.integer(kind)
      case 5, 7, 8:
        guard kind == .structure else { throw .damaged("a page has no description") }
        try reader.structure { (reader, field, kind) throws(ParquetError) in
          try header.describe(&reader, of: id, field, kind)
        }
      default: return false
      }
      return true
    }
    self = header
    headerByteCount = reader.position
  }

  private init() {}

  private mutating func describe(
    _ reader: inout ThriftReader, of page: Int, _ field: Int, _ kind: ThriftReader.Kind
  ) throws(ParquetError) -> Bool {
    switch (page, field) {
    case (_, 1): valueCount = try reader.integer(kind)
    case (5, 2), (7, 2), (8, 4): encoding = try reader.integer(kind)
    case (5, 3): definitionEncoding = try reader.integer(kind)
    case (5, 4): repetitionEncoding = try reader.integer(kind)
    case (8, 5): definitionByteCount = try reader.integer(kind)
    case (8, 6): repetitionByteCount = try reader.integer(kind)
    case (8, 7): isCompressed = try reader.boolean(kind)
    default: return false
    }
    return true
  }
}

/// How the values of a page are written.
enum Encoding: Int {
  case plain = 0
  case plainDictionary = 2
  /// Runs of one value and packed bits by turns.
  case runs = 3
  case dictionary = 8

  static func name(_ code: Int) -> String {
    [
      4: "BIT_PACKED", 5: "DELTA_BINARY_PACKED", 6: "DELTA_LENGTH_BYTE_ARRAY", 7: "DELTA_BYTE_ARRAY",
      9: "BYTE_STREAM_SPLIT",
    ][
      code] ?? "number \(code)"
  }
}
