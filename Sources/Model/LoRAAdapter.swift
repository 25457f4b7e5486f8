import Machine
import Storage

/// The weights of an adapter, which training changes in place of the model's.
package final class LoRAAdapter {
  package let configuration: LoRAConfiguration
  /// The shape of the model that the adapter belongs to.
  package let model: ModelConfiguration
  package let block: ParameterBlock
  /// Which weights it was made for.
  package let base: LoRABase

  package var table: ParameterTable { block.table }

  /// All weights zero.
  ///
  /// - Throws: `ConfigurationError` when the model is not possible; `OutOfMemoryError`.
  package init(zeroed configuration: LoRAConfiguration, model: ModelConfiguration, base: LoRABase) throws {
    self.configuration = configuration
    self.model = model
    self.base = base
    block = try ParameterBlock(zeroed: ParameterTable(configuration, model))
  }

  /// An adapter that changes nothing yet: B is zero, and A uniform in ±1/√inputs, which is PEFT's `kaiming_uniform_` with
  /// a = √5.
  package convenience init(
    _ configuration: LoRAConfiguration, model: ModelConfiguration, base: LoRABase, seed: UInt64
  ) throws {
    try self.init(zeroed: configuration, model: model, base: base)
    var generator = SplitMix64(seed: seed)
    for entry in table.entries {
      guard case .loraA = entry.role else { continue }
      let bound = 1 / Double(entry.shape[1]).squareRoot()
      for index in entry.range { block.values[index] = Float((2 * generator.nextUniform() - 1) * bound) }
    }
  }

  /// Adds what the adapter changes of a weight of the model: W += alpha/rank · B·A.
  ///
  /// - Parameters:
  ///   - key: the weight's.
  ///   - weight: [outputs, inputs], added to; left alone when no adapter is on it.
  package func merge(into key: String, _ weight: UnsafeMutablePointer<Float>) {
    guard let a = table.entry(LoRAKey.a(key)), let b = table.entry(LoRAKey.b(key)) else { return }
    addLowRankProduct(
      block.values + b.offset, block.values + a.offset, outputs: b.shape[0], rank: a.shape[0], inputs: a.shape[1],
      scale: configuration.scale, to: weight)
  }
}

/// The model that an adapter was trained on.
package struct LoRABase: Sendable, Equatable {
  /// Its directory.
  package var path: String
  /// `ModelWeights.contentHash`.
  package var contentHash: String

  package init(path: String, contentHash: String) {
    self.path = path
    self.contentHash = contentHash
  }
}

/// The keys of an adapter's weights, as PEFT writes them.
package enum LoRAKey {
  package static let prefix = "base_model.model."
  package static let aSuffix = ".lora_A.weight"
  package static let bSuffix = ".lora_B.weight"

  /// - Parameter key: of the weight that the adapter is on.
  package static func a(_ key: String) -> String { prefixed(key) + aSuffix }
  package static func b(_ key: String) -> String { prefixed(key) + bSuffix }

  private static func prefixed(_ key: String) -> String { prefix + key.dropLast(".weight".count) }
}

extension ParameterTable {
  /// The table of an adapter. Layer by layer and place by place: the A of all targets that share an input without gaps, as
  /// one [targets · rank, inputs] matrix, then each B, [outputs, rank].
  package init(_ adapter: LoRAConfiguration, _ model: ModelConfiguration) {
    var entries: [ParameterEntry] = []
    var end = 0
    func add(_ key: String, _ role: ParameterRole, _ layer: Int, _ rows: Int, _ columns: Int, joined: Bool = false) {
      if !joined { end = end.roundedUp(to: cacheLineFloats) }
      entries.append(
        ParameterEntry(
          key: key, role: role, layer: layer, shape: [rows, columns], offset: end, count: rows * columns))
      end += rows * columns
    }
    for layer in 0..<model.layerCount {
      for place in model.loraPlaces {
        let block = place.block
        let targets = place.site.targets.filter(adapter.targets.contains)
        for (index, target) in targets.enumerated() {
          add(
            LoRAKey.a(target.weightKey(layer, model, block)), .loraA(target, of: block), layer, adapter.rank,
            place.inputCount(model), joined: index > 0)
        }
        for target in targets {
          add(
            LoRAKey.b(target.weightKey(layer, model, block)), .loraB(target, of: block), layer,
            target.outputCount(model, block), adapter.rank)
        }
      }
    }
    self.init(entries)
  }
}
