import Storage

/// The types of metadata in a GGUF file: `gguf_metadata_value_type`.
enum GGUFValueType: UInt32 {
  case uint8, int8, uint16, int16, uint32, int32, float32, bool, text, array, uint64, int64, float64

  /// Of a value; of a text or a list what it takes at least.
  var byteCount: Int {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64, .text: 8
    case .array: 12
    }
  }
}

/// A value as a GGUF file has it.
package enum GGUFField: Sendable {
  case integer(Int)
  /// Also an integer beyond 64 bits with a sign.
  case number(Double)
  case bool(Bool)
  case text(String)
  case array(GGUFArray)
  /// Bytes that are no UTF-8.
  case notText
}

/// A list of values, which stay in the file until they are asked for.
package struct GGUFArray: Sendable {
  let file: MappedFile
  let type: GGUFValueType
  package let count: Int
  let range: Range<Int>

  /// The bytes as a text; nil where they are no UTF-8.
  static func text(_ file: MappedFile, _ range: Range<Int>) -> String? {
    String(validating: UnsafeRawBufferPointer(rebasing: file.bytes[range]), as: UTF8.self)
  }

  /// A value that is no text and no list.
  static func number(_ file: MappedFile, _ type: GGUFValueType, at place: Int) -> GGUFField {
    func load<Number: FixedWidthInteger>(_: Number.Type) -> Number {
      Number(littleEndian: file.bytes.loadUnaligned(fromByteOffset: place, as: Number.self))
    }
    switch type {
    case .uint8: return .integer(Int(load(UInt8.self)))
    case .int8: return .integer(Int(load(Int8.self)))
    case .uint16: return .integer(Int(load(UInt16.self)))
    case .int16: return .integer(Int(load(Int16.self)))
    case .uint32: return .integer(Int(load(UInt32.self)))
    case .int32: return .integer(Int(load(Int32.self)))
    case .int64: return .integer(Int(load(Int64.self)))
    case .uint64:
      let value = load(UInt64.self)
      return Int(exactly: value).map(GGUFField.integer) ?? .number(Double(value))
    case .float32: return .number(Double(Float(bitPattern: load(UInt32.self))))
    case .float64: return .number(Double(bitPattern: load(UInt64.self)))
    case .bool: return .bool(load(UInt8.self) != 0)
    case .text, .array: preconditionFailure("no number")
    }
  }

  /// The values, none of which is a text; nil where one is not as `convert` expects.
  private func values<Value>(_ convert: (GGUFField) -> Value?) -> [Value]? {
    guard type != .text else { return nil }
    var values: [Value] = []
    values.reserveCapacity(count)
    for place in stride(from: range.lowerBound, to: range.upperBound, by: type.byteCount) {
      guard let value = convert(Self.number(file, type, at: place)) else { return nil }
      values.append(value)
    }
    return values
  }

  /// Nil where the values are no texts, or one is no UTF-8.
  func texts() -> [String]? {
    guard type == .text else { return nil }
    var texts: [String] = []
    texts.reserveCapacity(count)
    var position = range.lowerBound
    for _ in 0..<count {
      let length = Int(UInt64(littleEndian: file.bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)))
      position += 8
      guard let text = Self.text(file, position..<position + length) else { return nil }
      texts.append(text)
      position += length
    }
    return texts
  }

  /// Nil where the values are no integers.
  func integers() -> [Int]? { values { if case .integer(let value) = $0 { value } else { nil } } }

  /// Nil where the values are neither integers nor other numbers.
  func doubles() -> [Double]? {
    values {
      switch $0 {
      case .integer(let value): Double(value)
      case .number(let value): value
      default: nil
      }
    }
  }
}

/// Typed access to the metadata of a GGUF file.
package struct GGUFMetadata: Sendable {
  package let path: String
  let file: MappedFile
  private let fields: [String: GGUFField]
  /// Where the number of the type of each value and the value itself lie.
  private let places: [String: Range<Int>]

  init(path: String, file: MappedFile, fields: [String: (value: GGUFField, place: Range<Int>)]) {
    self.path = path
    self.file = file
    self.fields = fields.mapValues(\.value)
    places = fields.mapValues(\.place)
  }

  /// The number of the type of a value and the value, as they lie in the file; nothing for a key that there is not.
  func stored(_ key: String) -> [UInt8] { places[key].map { Array(file.bytes[$0]) } ?? [] }

  package var keys: [String] { fields.keys.sorted() }

  package subscript(key: String) -> GGUFField? { fields[key] }

  private func wrong(_ key: String, _ expected: String) -> ModelFileError {
    .malformed(path: path, fault: "its metadata '\(key.prefix(200))' is not \(expected)")
  }

  private func missing(_ key: String) -> ModelFileError {
    .malformed(path: path, fault: "its metadata have no '\(key)'")
  }

  /// - Parameter fallback: for a file without the key; nil where one must have it.
  func integer(_ key: String, default fallback: Int? = nil) throws(ModelFileError) -> Int {
    switch fields[key] {
    case .integer(let value): return value
    case .array(let list):
      // By layer.
      guard let values = list.integers(), let first = values.first else { throw wrong(key, "a whole number") }
      guard values.allSatisfy({ $0 == first }) else {
        throw .unsupported(path: path, feature: "'\(key)' differs from layer to layer, which is not supported")
      }
      return first
    case nil:
      guard let fallback else { throw missing(key) }
      return fallback
    default: throw wrong(key, "a whole number")
    }
  }

  func number(_ key: String, default fallback: Double? = nil) throws(ModelFileError) -> Double {
    switch fields[key] {
    case .integer(let value): return Double(value)
    case .number(let value): return value
    case nil:
      guard let fallback else { throw missing(key) }
      return fallback
    default: throw wrong(key, "a number")
    }
  }

  func boolean(_ key: String, default fallback: Bool) throws(ModelFileError) -> Bool {
    switch fields[key] {
    case .bool(let value): return value
    case nil: return fallback
    default: throw wrong(key, "true or false")
    }
  }

  /// Nil for a file without the key.
  func text(_ key: String) throws(ModelFileError) -> String? {
    switch fields[key] {
    case .text(let value): return value
    case nil: return nil
    default: throw wrong(key, "a text in UTF-8")
    }
  }

  /// Nil for a file without the key.
  func texts(_ key: String) throws(ModelFileError) -> [String]? {
    guard let field = fields[key] else { return nil }
    guard case .array(let list) = field, let texts = list.texts() else { throw wrong(key, "a list of texts in UTF-8") }
    return texts
  }

  /// Nil for a file without the key.
  func integers(_ key: String) throws(ModelFileError) -> [Int]? {
    guard let field = fields[key] else { return nil }
    guard case .array(let list) = field, let values = list.integers() else {
      throw wrong(key, "a list of whole numbers")
    }
    return values
  }

  /// Nil for a file without the key.
  func numbers(_ key: String) throws(ModelFileError) -> [Double]? {
    guard let field = fields[key] else { return nil }
    guard case .array(let list) = field, let values = list.doubles() else { throw wrong(key, "a list of numbers") }
    return values
  }
}
