import Model
import Programs

/// What of an adapter's input a step leaves out: y = x ⊙ mask / (1 - rate), the same elements as on the processor
/// (`DropoutKeys`); x̄ = ȳ ⊙ mask / (1 - rate).
package struct Dropout {
  /// int32, [rows, 2] the halves of each row's key, or [blocks, rows, 2].
  package let keys: Tensor
  package let rate: Float

  package init(keys: Tensor, rate: Float) {
    self.keys = keys
    self.rate = rate
  }

  /// - Parameter x: [rows, columns], or [blocks, rows, columns].
  /// - Returns: y, or with ȳ in place of x its gradient; of the same type.
  package func callAsFunction(_ x: Tensor) -> Tensor {
    let last = x.shape.count - 1
    let halves = keys.split(last, [1, 1])
    func integer(_ bits: UInt32) -> Double { Double(Int32(bitPattern: bits)) }
    var bits = x.indices(last) * integer(DropoutKeys.columnFactor) + halves[0]
    bits = (bits ^ bits.shiftedRight(16)) * integer(DropoutKeys.firstFactor)
    bits = (bits ^ bits.shiftedRight(15) ^ halves[1]) * integer(DropoutKeys.secondFactor)
    bits = bits ^ bits.shiftedRight(16)
    // As unsigned numbers: with their highest bits turned, signed ones are in the same order.
    let sign: UInt32 = 1 << 31
    let limit = bits.filled(integer(DropoutKeys.threshold(rate: rate) ^ sign))
    let isLeftOut = (bits ^ bits.filled(integer(sign))) .< limit
    let scaled = x.float32 * Double(DropoutKeys.keptScale(rate: rate))
    return scaled.filled(0).kept(where: isLeftOut, else: scaled).converted(to: x.type.element)
  }
}

/// The keys of all masks of a pass as one input of its program.
struct AdapterDropout {
  /// Each layer's places that have an adapter; their order is that of the masks in the input.
  private let places: [(layer: Int, place: LoRAPlace)]
  private let rate: Float
  private let layerCount: Int

  /// Nil where nothing is left out.
  init?(_ adapter: LoRAConfiguration?, _ shape: ModelConfiguration) {
    guard let adapter, adapter.dropout > 0 else { return nil }
    rate = Float(adapter.dropout)
    layerCount = shape.layerCount
    let adapted = shape.loraPlaces.filter { $0.site.targets.contains(where: adapter.targets.contains) }
    places = (0..<shape.layerCount).flatMap { layer in adapted.map { (layer: layer, place: $0) } }
  }

  func type(rows: Int) -> TensorType { TensorType(.int32, [places.count, rows, 2]) }

  /// - Parameter firstRow: what the run has read before the batch.
  func values(rows: Int, firstRow: Int, seed: UInt64) -> HostTensor {
    var numbers: [Int32] = []
    numbers.reserveCapacity(places.count * rows * 2)
    for (layer, place) in places {
      let keys = DropoutKeys(seed: seed, stream: place.dropoutStream(layer, of: layerCount))
      for row in firstRow..<firstRow + rows {
        let key = keys.ofRow(row)
        numbers.append(Int32(bitPattern: key.low))
        numbers.append(Int32(bitPattern: key.high))
      }
    }
    return HostTensor(integers: numbers, type(rows: rows).shape)
  }

  /// - Parameter input: of `type`.
  func dropout(_ layer: Int, _ place: LoRAPlace, _ input: Tensor) -> Dropout {
    let number = places.firstIndex { $0.layer == layer && $0.place == place }!
    return Dropout(keys: input.slice(0, number..<number + 1).reshaped([input.shape[1], 2]), rate: rate)
  }
}
