import Compute
import Machine
import Model

/// The encoder of this machine's processor: a tower and a projector that do not learn.
package final class CPUPictureEncoder: PictureEncoder {
  private let sight: SightConfiguration
  private let values: FrozenValues
  private let pass: SightPass
  /// Pictures that go through the tower together.
  private let atOnce: Int

  package var rowsPerPicture: Int { sight.rowsPerPicture }
  package let hiddenSize: Int

  /// - Parameters:
  ///   - configuration: of the whole model.
  ///   - precision: of the products.
  ///   - read: writes the fp32 values of a weight of projector or tower to an address.
  /// - Throws: `OutOfMemoryError`, and what `read` throws.
  /// - Precondition: the model sees.
  package convenience init(
    _ configuration: ModelConfiguration, precision: ElementType, team: WorkerTeam,
    read: (ParameterEntry, UnsafeMutablePointer<Float>) throws -> Void
  ) throws {
    guard let sight = configuration.sight else { preconditionFailure("a model that does not see") }
    try self.init(sight, width: configuration.hiddenSize, precision: precision, team: team, read: read)
  }

  /// - Parameter width: the language model's hiddenSize.
  /// - Throws: as above.
  package init(
    _ sight: SightConfiguration, width: Int, precision: ElementType, team: WorkerTeam,
    read: (ParameterEntry, UnsafeMutablePointer<Float>) throws -> Void
  ) throws {
    self.sight = sight
    hiddenSize = width
    atOnce = TowerPass.capacity(sight.tower, workers: team.count)
    values = try FrozenValues(ParameterTable(sight, width: hiddenSize), type: precision, read: read)
    pass = try SightPass(
      sight, width: hiddenSize, precision: precision, weights: values.base, table: values.table,
      exact: SightVectors(base: values.exactValues, table: values.exactTable), gradients: nil, trainsTower: false,
      pictures: atOnce, team: team)
  }

  package func rows(_ pixels: [[Float]]) throws -> [[Float]] {
    try encode(pixels) { rows, count in
      (0..<count).map { index in
        let view = rows.rows(index * rowsPerPicture..<(index + 1) * rowsPerPicture)
        return Array(UnsafeBufferPointer(start: view.floats, count: view.rows * view.columns))
      }
    }
  }

  /// [featureRows, n] of each picture: what the projector gets, for shards of a tower that does not learn.
  ///
  /// - Throws: `PictureSizeError`.
  package func features(_ pixels: [[Float]]) throws -> [[Float]] {
    try encode(pixels) { _, _ in pass.towerFeatures }
  }

  private func encode(_ pixels: [[Float]], _ result: (MatrixView, Int) -> [[Float]]) throws -> [[Float]] {
    let side = sight.tower.imageSize
    for values in pixels where values.count != 3 * side * side {
      throw PictureSizeError(found: values.count, expected: side)
    }
    var rows: [[Float]] = []
    for start in stride(from: 0, to: pixels.count, by: atOnce) {
      let part = pixels[start..<min(start + atOnce, pixels.count)]
      rows += result(pass.forward(part.map { .pixels($0) }), part.count)
    }
    return rows
  }
}
