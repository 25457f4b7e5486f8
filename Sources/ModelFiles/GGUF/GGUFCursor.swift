import Storage

/// Reads the part of a GGUF file before its tensors from front to back. No number in it is believed before it has been
/// compared with what the file has left.
struct GGUFCursor {
  enum Fault: Error {
    case malformed(String)
    case unsupported(String)

    func error(_ path: String) -> ModelFileError {
      switch self {
      case .malformed(let fault): .malformed(path: path, fault: fault)
      case .unsupported(let feature): .unsupported(path: path, feature: feature)
      }
    }
  }

  private let file: MappedFile
  private(set) var position: Int

  /// More are in no real file, and each takes memory.
  private static let mostNameBytes = 1 << 16

  init(_ file: MappedFile, at position: Int) {
    self.file = file
    self.position = position
  }

  private var remaining: Int { file.bytes.count - position }

  private mutating func skip(_ count: Int) throws(Fault) {
    guard count <= remaining else {
      throw .malformed("at byte \(position) there should be \(count) bytes more, and \(remaining) are left")
    }
    position += count
  }

  mutating func integer<Number: FixedWidthInteger>(_ type: Number.Type) throws(Fault) -> Number {
    let place = position
    try skip(MemoryLayout<Number>.size)
    return Number(littleEndian: file.bytes.loadUnaligned(fromByteOffset: place, as: Number.self))
  }

  /// A number of things that follow.
  ///
  /// - Parameter leastByteCount: what one of them takes at least.
  mutating func count(_ what: String, leastByteCount: Int) throws(Fault) -> Int {
    let place = position
    let count = try integer(UInt64.self)
    guard count <= UInt64(remaining / leastByteCount) else {
      throw .malformed("at byte \(place) it promises \(count) \(what), and \(remaining) bytes are left")
    }
    return Int(count)
  }

  /// The place of a text, whose length comes first.
  private mutating func textRange() throws(Fault) -> Range<Int> {
    let length = try count("bytes of text", leastByteCount: 1)
    let start = position
    try skip(length)
    return start..<position
  }

  private mutating func name(_ what: String) throws(Fault) -> String {
    let range = try textRange()
    guard range.count <= Self.mostNameBytes, let name = GGUFArray.text(file, range) else {
      throw .malformed("the name of \(what) at byte \(range.lowerBound) is no text in UTF-8 of a usable length")
    }
    return name
  }

  // MARK: - Metadata

  /// The metadata, whose count comes here.
  mutating func fields() throws(Fault) -> [String: (value: GGUFField, place: Range<Int>)] {
    // After the count of tensors comes that of metadata.
    let count = try count("metadata", leastByteCount: 13)
    var fields: [String: (value: GGUFField, place: Range<Int>)] = [:]
    for _ in 0..<count {
      let key = try name("a metadata key")
      let start = position
      let value = try field(key)
      guard fields.updateValue((value, start..<position), forKey: key) == nil else {
        throw .malformed("the metadata key '\(key.prefix(200))' occurs twice")
      }
    }
    return fields
  }

  private mutating func field(_ key: String) throws(Fault) -> GGUFField {
    let type = try integer(UInt32.self)
    switch GGUFValueType(rawValue: type) {
    case .text:
      let range = try textRange()
      guard let text = GGUFArray.text(file, range) else { return .notText }
      return .text(text)
    case .array: return .array(try array(key))
    case let type?:
      let place = position
      try skip(type.byteCount)
      return GGUFArray.number(file, type, at: place)
    case nil: throw .malformed("the value of '\(key.prefix(200))' is of an unknown type, \(type)")
    }
  }

  private mutating func array(_ key: String) throws(Fault) -> GGUFArray {
    let number = try integer(UInt32.self)
    guard let type = GGUFValueType(rawValue: number), type != .array else {
      throw .malformed("'\(key.prefix(200))' is a list of values of the type \(number), which none has")
    }
    let count = try count("values of '\(key.prefix(200))'", leastByteCount: type.byteCount)
    let start = position
    if type == .text {
      for _ in 0..<count { _ = try textRange() }
    } else {
      try skip(count * type.byteCount)
    }
    return GGUFArray(file: file, type: type, count: count, range: start..<position)
  }

  // MARK: - Tensors

  /// What a description says, before it is compared with the size of the file.
  private struct Description {
    let name: String
    let type: GGUFType
    let shape: [Int]
    /// From where the tensors begin.
    let offset: UInt64
    let byteCount: Int
  }

  mutating func tensors(
    _ count: Int, alignment: Int
  ) throws(Fault) -> ([GGUFFile.Tensor], [String: Int]) {
    var descriptions: [Description] = []
    for _ in 0..<count { descriptions.append(try description()) }
    let start = position + (alignment - position % alignment) % alignment
    let byteCount = max(0, file.bytes.count - start)
    var tensors: [GGUFFile.Tensor] = []
    var indices: [String: Int] = [:]
    for tensor in descriptions {
      let name = tensor.name.prefix(200)
      guard tensor.offset % UInt64(alignment) == 0 else {
        throw .malformed("tensor '\(name)' begins at \(tensor.offset), which is no multiple of \(alignment)")
      }
      guard tensor.byteCount <= byteCount, tensor.offset <= UInt64(byteCount - tensor.byteCount) else {
        throw .malformed(
          "tensor '\(name)' should lie at byte \(tensor.offset) of the data with \(tensor.byteCount) bytes, and there are "
            + "\(byteCount)")
      }
      guard indices.updateValue(tensors.count, forKey: tensor.name) == nil else {
        throw .malformed("there are two tensors '\(name)'")
      }
      tensors.append(
        GGUFFile.Tensor(
          name: tensor.name, type: tensor.type, shape: tensor.shape, offset: start + Int(tensor.offset),
          byteCount: tensor.byteCount))
    }
    // Tensors that share bytes could be larger together than the file.
    var end = start
    for tensor in tensors.sorted(by: { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }) {
      guard tensor.offset >= end else {
        throw .malformed("the bytes of tensor '\(tensor.name.prefix(200))' overlap another's")
      }
      end = tensor.offset + tensor.byteCount
    }
    return (tensors, indices)
  }

  private mutating func description() throws(Fault) -> Description {
    let name = try name("a tensor")
    func malformed(_ fault: String) -> Fault { .malformed("tensor '\(name.prefix(200))' \(fault)") }
    let rank = try integer(UInt32.self)
    guard rank <= 4 else { throw malformed("has \(rank) axes, and 4 are possible") }
    var shape: [Int] = []
    var count = 1
    for _ in 0..<rank {
      let size = try integer(UInt64.self)
      let (product, overflows) = count.multipliedReportingOverflow(by: Int(clamping: size))
      guard !overflows, product < Int.max / 4 else { throw malformed("has an absurd shape") }
      count = product
      shape.insert(Int(clamping: size), at: 0)
    }
    let number = try integer(UInt32.self)
    guard let type = GGUFType(rawValue: number) else {
      throw .unsupported(
        "tensor '\(name.prefix(200))' is \(GGUFType.name(of: number)) and only "
          + GGUFType.allCases.map(\.name).joined(separator: ", ") + " are read")
    }
    guard (shape.last ?? 1) % type.blockSize == 0 else {
      throw malformed("has rows of \(shape.last ?? 1), no whole blocks of \(type.name)")
    }
    return Description(
      name: name, type: type, shape: shape, offset: try integer(UInt64.self),
      byteCount: count / type.blockSize * type.blockByteCount)
  }
}
