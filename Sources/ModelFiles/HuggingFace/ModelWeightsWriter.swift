import Storage

/// Writes the weights of a Hugging Face model directory tensor by tensor: `model.safetensors`, or shards and the
/// `model.safetensors.index.json` that lists them.
package final class ModelWeightsWriter {
  private let directory: String
  /// The files and what each will hold.
  private let shards: [(name: String, tensors: [SafetensorsWriter.Plan])]
  private let metadata: [String: String]
  private var shardIndex = 0
  private var tensorIndex = 0
  private var writer: SafetensorsWriter

  /// - Parameters:
  ///   - directory: exists.
  ///   - tensors: not empty; their values follow in this order.
  ///   - shardByteCount: the most bytes of weights in one file, if it has more than one weight; one file when nil.
  ///   - metadata: what each file is to say of itself, in addition to its format.
  package init(
    directory: String, tensors: [SafetensorsWriter.Plan], shardByteCount: Int?, metadata: [String: String] = [:]
  ) throws(FileError) {
    self.directory = directory
    self.metadata = metadata.merging(["format": "pt"]) { $1 }
    var groups: [[SafetensorsWriter.Plan]] = [[]]
    var byteCount = 0
    for tensor in tensors {
      if let shardByteCount, byteCount + tensor.byteCount > shardByteCount, byteCount > 0 {
        groups.append([])
        byteCount = 0
      }
      groups[groups.count - 1].append(tensor)
      byteCount += tensor.byteCount
    }
    func number(_ value: Int) -> String { String(repeating: "0", count: max(0, 5 - "\(value)".count)) + "\(value)" }
    let count = groups.count
    shards = groups.enumerated().map { index, tensors in
      (count == 1 ? "model.safetensors" : "model-\(number(index + 1))-of-\(number(count)).safetensors", tensors)
    }
    writer = try SafetensorsWriter(
      directory + "/" + shards[0].name, tensors: shards[0].tensors, metadata: self.metadata)
  }

  /// Appends the next tensor from fp32 values, rounded to the type that was planned.
  ///
  /// - Precondition: tensors remain, and this one has as many elements as `values`.
  /// - Throws: `FileError`, or `ModelFileError` when a value lies beyond the range of F16.
  package func append(_ values: UnsafeBufferPointer<Float>) throws {
    if tensorIndex == shards[shardIndex].tensors.count {
      try writer.commit()
      shardIndex += 1
      tensorIndex = 0
      let shard = shards[shardIndex]
      writer = try SafetensorsWriter(directory + "/" + shard.name, tensors: shard.tensors, metadata: metadata)
    }
    try writer.append(values)
    tensorIndex += 1
  }

  /// Puts the last file in place, and the index of shards.
  ///
  /// - Precondition: every planned tensor was appended.
  package func commit() throws(FileError) {
    precondition(shardIndex == shards.count - 1, "\(shards.count - 1 - shardIndex) planned shards are missing")
    try writer.commit()
    guard shards.count > 1 else { return }
    let byteCount = shards.flatMap(\.tensors).reduce(0) { $0 + $1.byteCount }
    let places = shards.flatMap { shard in shard.tensors.map { JSON.Member($0.name, .string(shard.name)) } }
    let index = JSON.object([
      JSON.Member("metadata", .object([JSON.Member("total_size", .integer(byteCount))])),
      JSON.Member("weight_map", .object(places.sorted { $0.key < $1.key })),
    ])
    try AtomicFile.write(index.text() + "\n", to: directory + "/model.safetensors.index.json")
  }
}
