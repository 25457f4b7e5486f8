import Transformer

extension Parameters {
  /// All values of the block, copied.
  public var allValues: [Float] {
    withExtendedLifetime(self) { Array(UnsafeBufferPointer(start: values, count: table.totalCount)) }
  }

  /// The values of one weight, copied.
  public func copy(of key: String) -> [Float] {
    withExtendedLifetime(self) { Array(self[key]) }
  }
}
