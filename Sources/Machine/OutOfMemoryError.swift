import Storage

/// The system refused the memory that a buffer needs.
package struct OutOfMemoryError: Error, Equatable, Sendable, CustomStringConvertible {
  /// Bytes that were asked for.
  package let byteCount: Int

  package init(byteCount: Int) { self.byteCount = byteCount }

  package var description: String {
    "cannot allocate \(formatBytes(byteCount)) of memory. Choose a smaller model or a smaller --micro-batch-tokens."
  }
}
