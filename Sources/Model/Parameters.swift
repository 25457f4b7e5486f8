/// The weights of one model in fp32.
public final class Parameters {
  public let configuration: ModelConfiguration
  /// The weights themselves and what lies where.
  package let block: ParameterBlock

  public var table: ParameterTable { block.table }
  /// `table.totalCount` values, 64-byte aligned. The gaps between weights are zero. Valid while this object lives.
  public var values: UnsafeMutablePointer<Float> { block.values }

  /// All weights zero.
  ///
  /// - Throws: `ConfigurationError` when the configuration is not possible; `OutOfMemoryError`.
  public init(zeroed configuration: ModelConfiguration) throws {
    try configuration.validate(source: "model configuration")
    self.configuration = configuration
    block = try ParameterBlock(zeroed: ParameterTable(configuration))
  }

  /// A new model: weights normal with standard deviation 0.02, norms 1. The two matrices `o_proj` and
  /// `up_proj` of each layer use 0.02/√(2·layers), which keeps the residual stream's variance in check.
  ///
  /// The values depend on the seed and the configuration only.
  ///
  /// - Throws: `ConfigurationError` when the configuration is not possible; `OutOfMemoryError`.
  public convenience init(configuration: ModelConfiguration, seed: UInt64) throws {
    try self.init(zeroed: configuration)
    var generator = NormalGenerator(seed: seed)
    let scaledDeviation = 0.02 / (2 * Double(configuration.layerCount)).squareRoot()
    for entry in table.entries {
      let weight = values + entry.offset
      guard entry.isDecayed else {
        weight.update(repeating: 1, count: entry.count)
        continue
      }
      let isScaled = entry.key.hasSuffix("o_proj.weight") || entry.key.hasSuffix("up_proj.weight")
      let deviation = isScaled ? scaledDeviation : 0.02
      for i in 0..<entry.count { weight[i] = Float(generator.next() * deviation) }
    }
  }

  /// The values of one weight. Valid while this object lives: a caller that does not otherwise hold it
  /// that long wraps the use in `withExtendedLifetime`.
  ///
  /// - Precondition: the model has a weight of this key.
  public subscript(key: String) -> UnsafeMutableBufferPointer<Float> {
    guard let entry = table.entry(key) else { preconditionFailure("the model has no weight named \(key)") }
    return UnsafeMutableBufferPointer(start: values + entry.offset, count: entry.count)
  }
}
