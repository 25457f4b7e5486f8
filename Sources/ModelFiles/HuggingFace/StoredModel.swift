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

  /// Writes a weight in fp32, with its rows in this program's order.
  ///
  /// - Parameter target: room for `entry.count` values.
  /// - Throws: `ModelFileError` when its type is not read or a value is not finite.
  package func read(_ entry: ParameterEntry, _ target: UnsafeMutablePointer<Float>) throws {
    try weights.copy(entry, of: configuration, to: target)
  }
}
