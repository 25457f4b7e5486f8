import Compute
import Machine
import Model

/// The layout of what a projector computes with, except weights and gradients. T = rows.
struct ProjectorPlan {
  /// [T, inputs] the tower's rows side by side; the same normalised if the projector does so, in the type of the products.
  let gathered, input: ArenaSlot
  /// [T, 2]
  let statistics: ArenaSlot
  /// [T, width] between the matrices, before and after the activation; and what the projector makes.
  let inner, activated, output: ArenaSlot
  /// Only on the way back: [T, width] in the type of the products, and [T, inputs].
  let dOutput, dInner, dInput: ArenaSlot
  let arena: ArenaPlan

  init(_ sight: SightConfiguration, width: Int, rows: Int, precision: ElementType, trains: Bool) {
    var plan = ArenaPlan()
    let hasSecond = sight.projector.kind != .linear
    func slot(_ columns: Int, _ type: ElementType = .float32, isNeeded: Bool = true) -> ArenaSlot {
      plan.reserve(rows: isNeeded ? rows : 0, columns: columns, type)
    }
    gathered = slot(sight.projectorInputSize)
    input = slot(sight.projectorInputSize, precision)
    statistics = slot(2)
    inner = slot(width, precision, isNeeded: hasSecond)
    activated = slot(width, precision, isNeeded: hasSecond)
    output = slot(width)
    dOutput = slot(width, precision, isNeeded: trains)
    dInner = slot(width, precision, isNeeded: trains && hasSecond)
    dInput = slot(sight.projectorInputSize, isNeeded: trains)
    arena = plan
  }
}

/// The forward and backward pass of a projector: rows of a tower in, rows of the language model's width out.
///
/// Every worker takes its own rows all the way; on the way back only the gradients of matrices need the others.
final class ProjectorPass {
  private let sight: SightConfiguration
  private let team: WorkerTeam
  private let weights: SightViews
  private let vectors: SightVectors
  /// Nil where the projector does not learn.
  private let gradients: (matrices: SightViews, vectors: SightVectors, sums: SightVectorGradients)?
  private let plan: ProjectorPlan
  private let arena: AlignedBuffer
  /// Rows of the last `forward`.
  private var rowCount = 0

  init(
    _ sight: SightConfiguration, width: Int, rows: Int, precision: ElementType, weights: SightViews,
    vectors: SightVectors, gradients: (matrices: SightViews, vectors: SightVectors, sums: SightVectorGradients)?,
    team: WorkerTeam
  ) throws(OutOfMemoryError) {
    self.sight = sight
    self.team = team
    self.weights = weights
    self.vectors = vectors
    self.gradients = gradients
    plan = ProjectorPlan(sight, width: width, rows: rows, precision: precision, trains: gradients != nil)
    arena = try AlignedBuffer(plan.arena)
  }

  private func view(_ slot: ArenaSlot) -> MatrixView { arena.view(slot, rows: rowCount) }
  private func rows(of worker: Int) -> Range<Int> { team.share(of: rowCount, worker: worker, multiple: 16) }

  /// Where the rows of a tower that become a row are in its features, each [n], in the order in which they lie in it.
  private func sources(_ row: Int) -> [Int] {
    let (side, factor) = (sight.tower.patchesPerSide, sight.projector.unshuffle)
    if factor == 1 { return [row] }
    let perPicture = sight.rowsPerPicture
    let (picture, place) = (row / perPicture, row % perPicture)
    let (down, across) = (place / (side / factor) * factor, place % (side / factor) * factor)
    return (0..<factor * factor).map {
      picture * side * side + (down + $0 / factor) * side + across + $0 % factor
    }
  }

  /// [pictures · rowsPerPicture, width] what becomes of some pictures.
  ///
  /// - Parameter features: [pictures · featureRows, n] fp32.
  func forward(_ features: MatrixView) -> MatrixView {
    let (hidden, factor) = (sight.tower.hiddenSize, sight.projector.unshuffle)
    rowCount = features.rows / (factor * factor)
    team.run { worker in
      let rows = rows(of: worker)
      let gathered = view(plan.gathered)
      for row in rows {
        for (index, source) in sources(row).enumerated() {
          convert(
            features.rows(source..<source + 1),
            to: gathered.rows(row..<row + 1).columns(index * hidden..<(index + 1) * hidden))
        }
      }
      let input = view(plan.input).rows(rows)
      if sight.projector.kind == .normalizedMLP {
        layerNormForward(
          input: gathered.rows(rows), weight: vectors.projector(.norm), bias: vectors.projector(.normBias),
          epsilon: ProjectorConfiguration.layerNormEpsilon, output: input,
          statistics: view(plan.statistics).floats + 2 * rows.lowerBound)
      } else {
        convert(gathered.rows(rows), to: input)
      }
      let products = team.products[worker]
      let output = view(plan.output).rows(rows)
      guard let second = weights.second else {
        products.multiply(input, weights.first, bTransposed: true, into: output)
        return biasForward(output, bias: vectors.projector(.firstBias))
      }
      let (inner, activated) = (view(plan.inner).rows(rows), view(plan.activated).rows(rows))
      products.multiply(input, weights.first, bTransposed: true, into: inner)
      biasForward(inner, bias: vectors.projector(.firstBias))
      geluForward(sight.projector.activation, input: inner, output: activated)
      products.multiply(activated, second, bTransposed: true, into: output)
      biasForward(output, bias: vectors.projector(.secondBias))
    }
    return view(plan.output)
  }

  /// Adds up the gradients of the projector's weights.
  ///
  /// - Parameters:
  ///   - dRow: writes a row of the gradient of what `forward` returned, [width] fp32.
  ///   - dFeatures: [pictures · featureRows, n] fp32, overwritten with the gradient of the features; nil where it is not
  ///     wanted.
  func backward(dRow: (_ row: Int, _ target: MatrixView) -> Void, dFeatures: MatrixView?) {
    guard let gradients else { preconditionFailure("a projector that does not learn") }
    let hidden = sight.tower.hiddenSize
    team.run { worker in
      let rows = rows(of: worker)
      let sums = gradients.sums.sums(worker)
      let products = team.products[worker]
      // The output is no longer needed: its gradient takes its place.
      let output = view(plan.output)
      for row in rows { dRow(row, output.rows(row..<row + 1)) }
      let dOutput = view(plan.dOutput).rows(rows)
      convert(output.rows(rows), to: dOutput)
      biasBackward(
        dOutput: output.rows(rows), dBias: sums.projector(weights.second == nil ? .firstBias : .secondBias))
      var dFirst = dOutput
      if let second = weights.second {
        dFirst = view(plan.dInner).rows(rows)
        products.multiply(dOutput, second, into: dFirst)
        geluBackward(sight.projector.activation, input: view(plan.inner).rows(rows), dOutput: dFirst, dInput: dFirst)
        biasBackward(dOutput: dFirst, dBias: sums.projector(.firstBias))
      }
      let hasNorm = sight.projector.kind == .normalizedMLP
      if hasNorm || dFeatures != nil {
        let dInput = view(plan.dInput).rows(rows)
        products.multiply(dFirst, weights.first, into: dInput)
        if hasNorm {
          layerNormBackward(
            dOutput: dInput, input: view(plan.gathered).rows(rows), weight: vectors.projector(.norm),
            statistics: view(plan.statistics).floats + 2 * rows.lowerBound, dInput: dInput, accumulates: false,
            dWeight: sums.projector(.norm), dBias: sums.projector(.normBias))
        }
        if let dFeatures {
          for row in rows {
            for (index, source) in sources(row).enumerated() {
              convert(
                view(plan.dInput).rows(row..<row + 1).columns(index * hidden..<(index + 1) * hidden),
                to: dFeatures.rows(source..<source + 1))
            }
          }
        }
      }
      team.barrier()
      if let second = gradients.matrices.second {
        addWeightGradient(worker, view(plan.dOutput), view(plan.activated), second)
        addWeightGradient(worker, view(plan.dInner), view(plan.input), gradients.matrices.first)
      } else {
        addWeightGradient(worker, view(plan.dOutput), view(plan.input), gradients.matrices.first)
      }
    }
  }

  private func addWeightGradient(_ worker: Int, _ dOutput: MatrixView, _ input: MatrixView, _ gradient: MatrixView) {
    let mine = team.share(of: gradient.rows, worker: worker, multiple: 16)
    guard !mine.isEmpty else { return }
    team.products[worker].multiply(
      dOutput.columns(mine), aTransposed: true, input, into: gradient.rows(mine), accumulates: true)
  }
}
