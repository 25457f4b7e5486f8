import Compute
import Machine
import Model

/// The weights of a model that training does not change.
///
/// The training of an adapter reads them. In bfloat16 there is no second, longer copy of a matrix.
package final class FrozenWeights {
  package let configuration: ModelConfiguration
  package let values: FrozenValues
  package let views: WeightViews
  /// [experts, n] of each layer; none for a dense model.
  package let routers: [MatrixView]

  package var type: ElementType { values.type }
  package var table: ParameterTable { values.table }
  package var exactTable: ParameterTable { values.exactTable }
  /// Valid while this object lives.
  package var exactValues: UnsafePointer<Float> { UnsafePointer(values.exactValues) }

  /// - Parameter read: writes the fp32 values of a weight to an address.
  /// - Throws: `OutOfMemoryError`, and what `read` throws.
  package init(
    _ configuration: ModelConfiguration, _ table: ParameterTable, type: ElementType,
    read: (ParameterEntry, UnsafeMutablePointer<Float>) throws -> Void
  ) throws {
    self.configuration = configuration
    values = try FrozenValues(table, type: type, read: read)
    views = WeightViews(values.base, type, table, configuration)
    routers = WeightViews.routers(values.exactValues, values.exactTable, configuration)
  }

  /// Writes the fp32 values of a weight to an address.
  func copy(_ entry: ParameterEntry, to target: UnsafeMutablePointer<Float>) { values.copy(entry, to: target) }
}
