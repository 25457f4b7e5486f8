import Storage

/// Writes a safetensors file tensor by tensor, so that no more than one of them need be in memory.
///
/// The file appears at its path, whole, when `commit()` returns. Its data begins at a multiple of 64 bytes.
public final class SafetensorsWriter {
  /// What a file will hold, known before its bytes are.
  public struct Plan: Sendable {
    public var name: String
    public var type: TensorType
    public var shape: [Int]

    public init(name: String, type: TensorType, shape: [Int]) {
      self.name = name
      self.type = type
      self.shape = shape
    }

    public var byteCount: Int { shape.reduce(type.byteCount, *) }
  }

  private let file: AtomicFile
  private let plans: [Plan]
  private var nextIndex = 0

  /// Begins a file at `path` with the header for `tensors`, whose bytes then follow in this order.
  ///
  /// - Precondition: names are unique.
  public init(_ path: String, tensors: [Plan], metadata: [String: String] = ["format": "pt"]) throws(FileError) {
    precondition(Set(tensors.map(\.name)).count == tensors.count, "two tensors of one name in \(path)")
    file = try AtomicFile(path)
    plans = tensors
    var members = [
      JSON.Member(
        "__metadata__", .object(metadata.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .string($0.value)) }))
    ]
    var offset = 0
    for tensor in tensors {
      members.append(
        JSON.Member(
          tensor.name,
          .object([
            JSON.Member("dtype", .string(tensor.type.rawValue)),
            JSON.Member("shape", .array(tensor.shape.map(JSON.integer))),
            JSON.Member("data_offsets", .array([.integer(offset), .integer(offset + tensor.byteCount)])),
          ])))
      offset += tensor.byteCount
    }
    var header = Array(JSON.object(members).compactText.utf8)
    while (8 + header.count) % 64 != 0 { header.append(UInt8(ascii: " ")) }
    let length = UInt64(header.count)
    try file.write((0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) })
    try file.write(header)
  }

  /// Appends the bytes of the next tensor.
  ///
  /// - Precondition: tensors remain, and `bytes` has the size that the plan says.
  public func append(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    precondition(nextIndex < plans.count, "more tensors than planned")
    let plan = plans[nextIndex]
    precondition(bytes.count == plan.byteCount, "\(plan.name): \(bytes.count) bytes, planned \(plan.byteCount)")
    nextIndex += 1
    try file.write(bytes)
  }

  /// Appends the next tensor from fp32 values, rounded to the plan's type.
  ///
  /// - Precondition: the plan says F32, BF16 or F16, and has as many elements as `values`.
  /// - Throws: `FileError`, or `ModelFileError` when a value lies beyond the range of F16.
  public func append(_ values: UnsafeBufferPointer<Float>) throws {
    precondition(nextIndex < plans.count, "more tensors than planned")
    let plan = plans[nextIndex]
    if plan.type == .float32 { return try append(UnsafeRawBufferPointer(values)) }
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: values.count * plan.type.byteCount, alignment: 64)
    defer { bytes.deallocate() }
    try TensorConversion.narrow(values, to: plan.type, at: bytes, name: plan.name, path: file.path)
    try append(UnsafeRawBufferPointer(bytes))
  }

  /// Puts the finished file in place.
  ///
  /// - Precondition: every planned tensor was appended.
  public func commit() throws(FileError) {
    precondition(nextIndex == plans.count, "\(plans.count - nextIndex) planned tensors are missing")
    try file.commit()
  }
}
