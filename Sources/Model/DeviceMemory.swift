/// What training takes of the memory that a device has of its own.
package struct DeviceMemory: Sendable, Equatable {
  /// Weights, gradients and moments, which stay there.
  package var keptBytes: Int
  /// The most that is there in addition, while a batch passes or the weights change.
  package var temporaryBytes: Int
  /// Nil where the device does not say.
  package var availableBytes: Int?

  package init(keptBytes: Int, temporaryBytes: Int, availableBytes: Int?) {
    self.keptBytes = keptBytes
    self.temporaryBytes = temporaryBytes
    self.availableBytes = availableBytes
  }

  package var neededBytes: Int { keptBytes + temporaryBytes }

  /// That of two engines of a device, of which one computes at a time.
  package func beside(_ other: DeviceMemory) -> DeviceMemory {
    DeviceMemory(
      keptBytes: keptBytes + other.keptBytes, temporaryBytes: max(temporaryBytes, other.temporaryBytes),
      availableBytes: availableBytes)
  }
}
