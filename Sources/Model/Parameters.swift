/// The weights of one model in fp32.
public final class Parameters {
  public let configuration: ModelConfiguration
  /// The weights themselves and where each of them is.
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

  /// A new model: matrices normal with the deviation of their role, norms 1, biases 0.
  ///
  /// The values depend on the seed and the configuration only.
  ///
  /// - Throws: `ConfigurationError` when the configuration is not possible; `OutOfMemoryError`.
  public convenience init(configuration: ModelConfiguration, seed: UInt64) throws {
    try self.init(zeroed: configuration)
    var generator = NormalGenerator(seed: seed)
    for entry in table.entries {
      let weight = values + entry.offset
      switch entry.role.initialValues(columns: entry.columns, layerCount: configuration.layerCount) {
      case .all(let value): weight.update(repeating: value, count: entry.count)
      case .normal(let deviation):
        for i in 0..<entry.count { weight[i] = Float(generator.next() * deviation) }
      }
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
