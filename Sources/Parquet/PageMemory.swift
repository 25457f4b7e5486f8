/// The memory of all pages that are decoded at a time.
final class PageMemory {
  private let limit: Int
  private var used = 0

  init(limit: Int) { self.limit = limit }

  /// - Throws: `ParquetError` where there would be more than the limit.
  func take(_ count: Int) throws(ParquetError) {
    guard count <= limit - used else {
      throw .unsupported("pages that take more than \(limit >> 20) MiB together")
    }
    used += count
  }

  func giveBack(_ count: Int) { used -= count }
}
