/// The order of a patch's numbers where a tower takes pictures of any size, as `Siglip2VisionModel` of `transformers`: by rows,
/// columns and colours, [outputs, side · side · 3]. A convolution's, as everywhere else, is [outputs, 3, side, side].
enum PatchRows {
  /// From the order of a convolution.
  static func fromConvolution(_ values: UnsafeBufferPointer<Float>, outputs: Int, side: Int) -> [Float] {
    reordered(values, outputs: outputs, colours: 3, places: side * side)
  }

  /// To the order of a convolution.
  static func toConvolution(_ values: UnsafeBufferPointer<Float>, outputs: Int, side: Int) -> [Float] {
    reordered(values, outputs: outputs, colours: side * side, places: 3)
  }

  /// Each output's [colours, places] transposed.
  private static func reordered(
    _ values: UnsafeBufferPointer<Float>, outputs: Int, colours: Int, places: Int
  ) -> [Float] {
    var result: [Float] = []
    result.reserveCapacity(values.count)
    for output in 0..<outputs {
      for place in 0..<places {
        for colour in 0..<colours { result.append(values[(output * colours + colour) * places + place]) }
      }
    }
    return result
  }
}

/// The weight of a file in that order, as that of a convolution.
struct PatchRowsWeight: StoredWeight {
  private let stored: SafetensorsWeight
  private let side: Int

  /// Nil for another weight.
  init?(_ stored: SafetensorsWeight, named name: String) {
    guard name.hasSuffix("embeddings.patch_embedding.weight"), stored.shape.count == 2, stored.shape[1] % 3 == 0 else {
      return nil
    }
    let places = stored.shape[1] / 3
    side = Int(Double(places).squareRoot())
    guard side * side == places else { return nil }
    self.stored = stored
  }

  var storedName: String { stored.storedName }
  var path: String { stored.path }
  var shape: [Int] { [stored.shape[0], 3, side, side] }
  var type: TensorType? { stored.type }
  var bytes: UnsafeRawBufferPointer { stored.bytes }

  func rows(_ range: Range<Int>) -> (any StoredWeight)? { nil }

  func copy(to destination: UnsafeMutablePointer<Float>) throws {
    let values = try stored.floats()
    let ordered = values.withUnsafeBufferPointer {
      PatchRows.toConvolution($0, outputs: shape[0], side: side)
    }
    ordered.withUnsafeBufferPointer { destination.update(from: $0.baseAddress!, count: $0.count) }
  }

  func release() { stored.release() }
}
