import Compute
import Machine
import Model

/// Pictures through tower and projector, and the gradient back.
///
/// Towers take a few pictures at once. On the way back those whose activations are no longer in place go forward once more:
/// the memory does not grow with the pictures of a batch, and the bits are the same.
package final class SightPass {
  let sight: SightConfiguration
  /// The language model's hiddenSize.
  let width: Int
  private let team: WorkerTeam
  private let tower: TowerPass
  private let projector: ProjectorPass
  private let gradients: (matrices: SightViews, vectors: SightVectors, sums: SightVectorGradients)?
  private let trainsTower: Bool
  /// [capacity · featureRows, n] what the tower made, and its gradient if it learns.
  private let features: MatrixView
  private let dFeatures: MatrixView?
  private let buffer: AlignedBuffer
  /// The most pictures.
  private let capacity: Int
  private var pictures: [BatchPicture.Values] = []
  /// Those of `pictures` that the tower sees.
  private var seen: [Int] = []

  /// - Parameters:
  ///   - weights: matrices in the type of the products; `exact`: norms, biases and places in fp32.
  ///   - gradients: a block of floats laid out by `table`; nil where nothing learns.
  ///   - trainsTower: whether the tower learns with the projector.
  ///   - pictures: the most at once.
  package init(
    _ sight: SightConfiguration, width: Int, precision: ElementType, weights: UnsafeMutableRawPointer,
    table: ParameterTable, exact: SightVectors, gradients: UnsafeMutablePointer<Float>?, trainsTower: Bool,
    pictures: Int, team: WorkerTeam
  ) throws(OutOfMemoryError) {
    self.sight = sight
    self.width = width
    self.team = team
    capacity = pictures
    let views = SightViews(weights, precision, table, sight, width: width)
    var learned: (matrices: SightViews, vectors: SightVectors, sums: SightVectorGradients)?
    if let gradients {
      learned = (
        SightViews(UnsafeMutableRawPointer(gradients), .float32, table, sight, width: width),
        SightVectors(base: gradients, table: table),
        try SightVectorGradients(sight, width: width, workers: team.count)
      )
    }
    self.gradients = learned
    self.trainsTower = trainsTower
    tower = try TowerPass(
      sight.tower, capacity: min(pictures, TowerPass.capacity(sight.tower, workers: team.count)),
      precision: precision, weights: views, vectors: exact, gradients: trainsTower ? learned : nil, team: team)
    projector = try ProjectorPass(
      sight, width: width, rows: pictures * sight.rowsPerPicture, precision: precision, weights: views, vectors: exact,
      gradients: learned, team: team)
    var plan = ArenaPlan()
    let rows = pictures * sight.tower.featureRows
    let slot = plan.reserve(rows: rows, columns: sight.tower.hiddenSize)
    let dSlot = trainsTower ? plan.reserve(rows: rows, columns: sight.tower.hiddenSize) : nil
    buffer = try AlignedBuffer(plan)
    features = buffer.view(slot)
    dFeatures = dSlot.map { [buffer] in buffer.view($0) }
  }

  /// Bytes that a pass holds beside weights and their gradients.
  static func memoryBytes(
    _ sight: SightConfiguration, width: Int, precision: ElementType, pictures: Int, workers: Int, trains: Bool,
    trainsTower: Bool
  ) -> Int {
    let atOnce = min(pictures, TowerPass.capacity(sight.tower, workers: workers))
    let tower = TowerPlan(sight.tower, pictures: atOnce, precision: precision, trains: trainsTower)
    let projector = ProjectorPlan(
      sight, width: width, rows: pictures * sight.rowsPerPicture, precision: precision, trains: trains)
    let features = pictures * sight.tower.featureRows * sight.tower.hiddenSize * 4
    return tower.arena.byteCount + projector.arena.byteCount + features * (trainsTower ? 2 : 1)
  }

  /// The rows of the language model that pictures become: [pictures · rowsPerPicture, width] fp32, until the next call.
  ///
  /// - Precondition: at most as many as the pass was made for, of the sizes that the sight has; no features of a tower that
  ///   learns.
  package func forward(_ pictures: [BatchPicture.Values]) -> MatrixView {
    precondition(pictures.count <= capacity, "\(pictures.count) pictures, room for \(capacity)")
    self.pictures = pictures
    let (rows, hidden) = (sight.tower.featureRows, sight.tower.hiddenSize)
    seen = []
    for (index, picture) in pictures.enumerated() {
      switch picture {
      case .pixels(let pixels):
        precondition(
          pixels.count == 3 * sight.tower.imageSize * sight.tower.imageSize, "\(pixels.count) numbers of a picture")
        seen.append(index)
      case .features(let values):
        precondition(!trainsTower, "features of a tower that learns")
        precondition(values.count == rows * hidden, "\(values.count) features of a picture")
        values.withUnsafeBufferPointer {
          features.rows(index * rows..<(index + 1) * rows).floats.update(from: $0.baseAddress!, count: values.count)
        }
      }
    }
    let dropped = sight.tower.rowCount - rows
    for chunk in chunks {
      runTower(chunk)
      for (place, number) in chunk.enumerated() {
        let start = place * sight.tower.rowCount + dropped
        convert(
          tower.feature.rows(start..<start + rows),
          to: features.rows(seen[number] * rows..<(seen[number] + 1) * rows))
      }
    }
    return projector.forward(features.rows(0..<pictures.count * rows))
  }

  /// Parts of `seen` that the tower takes at once.
  private var chunks: [Range<Int>] {
    stride(from: 0, to: seen.count, by: tower.capacity).map { $0..<min($0 + tower.capacity, seen.count) }
  }

  private func runTower(_ chunk: Range<Int>) {
    tower.forward(chunk) { number in
      guard case .pixels(let pixels) = pictures[seen[number]] else { preconditionFailure("features go by the tower") }
      return pixels
    }
  }

  /// Adds up the gradients of what learns.
  ///
  /// - Parameter dRow: writes a row of the gradient of what `forward` returned, [width] fp32.
  package func backward(dRow: (_ row: Int, _ target: MatrixView) -> Void) {
    guard let gradients, !pictures.isEmpty else { return }
    gradients.sums.zero()
    let rows = sight.tower.featureRows
    projector.backward(dRow: dRow, dFeatures: dFeatures?.rows(0..<pictures.count * rows))
    if let dFeatures {
      // The last ones first: theirs are in place.
      for chunk in chunks.reversed() {
        if tower.current != chunk { runTower(chunk) }
        tower.backward { picture, row, target in
          let source = seen[chunk.lowerBound + picture] * rows + row
          convert(dFeatures.rows(source..<source + 1), to: target)
        }
      }
    }
    gradients.sums.add(to: gradients.vectors)
  }

  /// [featureRows, n] of each picture that the last `forward` was given.
  package var towerFeatures: [[Float]] {
    let rows = sight.tower.featureRows
    return pictures.indices.map { index in
      let view = features.rows(index * rows..<(index + 1) * rows)
      return Array(UnsafeBufferPointer(start: view.floats, count: rows * view.columns))
    }
  }
}
