import Model

/// The model in a directory, or that of an adapter's base together with the adapter, before its weights are read.
package struct StoredModel {
  package let configuration: ModelConfiguration
  package let table: ParameterTable
  package let weights: ModelWeights

  /// - Parameter modelDirectory: the directory itself; `resolveModelDirectory` finds it for a run or checkpoint.
  /// - Throws: `FileError`, `ModelFileError` or `ConfigurationError`, each saying which file and what is wrong.
  package init(modelDirectory: String) throws {
    configuration = try ModelConfiguration(modelDirectory: modelDirectory)
    weights = try ModelWeights(directory: modelDirectory)
    table = try ParameterTable(configuration, checkedAgainst: weights)
  }

  /// Whether some rows of a weight can be read without the others.
  package func hasRows(_ entry: ParameterEntry) -> Bool {
    weights.hasRows(entry.key) && !(configuration.storesAdjacentPairs && entry.role.isRotated)
  }

  /// Writes a weight in fp32, with its rows in this program's order.
  ///
  /// - Parameter target: room for `entry.count` values.
  /// - Throws: `ModelFileError` when its type is not read or a value is not finite.
  package func read(_ entry: ParameterEntry, _ target: UnsafeMutablePointer<Float>) throws {
    try weights.copy(entry, of: configuration, to: target)
  }

  /// Writes rows of a weight in the same way.
  ///
  /// - Parameter rows: all of them, unless `hasRows`.
  package func readRows(_ entry: ParameterEntry, _ rows: Range<Int>, _ target: UnsafeMutablePointer<Float>) throws {
    if rows.count == entry.shape[0] { return try read(entry, target) }
    try weights.copy(entry.key, rows: rows, to: target)
  }
}
