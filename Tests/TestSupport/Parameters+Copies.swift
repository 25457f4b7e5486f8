import Model

extension Parameters {
  /// All values of the block, copied.
  public var allValues: [Float] { block.allValues }

  /// The values of one weight, copied.
  public func copy(of key: String) -> [Float] { block.copy(of: key) }
}

extension ParameterBlock {
  /// All values, copied.
  package var allValues: [Float] {
    withExtendedLifetime(self) { Array(UnsafeBufferPointer(start: values, count: table.totalCount)) }
  }

  /// The values of one entry, copied.
  package func copy(of key: String) -> [Float] {
    withExtendedLifetime(self) {
      Array(UnsafeBufferPointer(start: values, count: table.totalCount)[table.entry(key)!.range])
    }
  }
}
