import Model
import Programs

/// The programs that training is made of. Weights, gradients and moments are inputs and outputs, and so stay where the programs
/// run; only batches, losses and a few sums cross.
struct ModelPrograms {
  let model: ProgramModel

  /// The loss of each row of which one is asked for.
  ///
  /// - Inputs: of `TransformerPass`. Outputs: [loss rows].
  /// - Parameter drops: whether dropout leaves anything out.
  func losses(_ pass: PassShape, drops: Bool = false) -> Program {
    let builder = ProgramBuilder()
    let transformer = TransformerPass(builder, model, pass, drops: drops)
    return builder.program([outputLayer(transformer, isTrained: false).losses])
  }

  /// The logits of some rows.
  ///
  /// - Inputs: of `TransformerPass`, and int32, [count] the rows. Outputs: [count, vocabulary].
  func logits(_ pass: PassShape, count: Int) -> Program {
    let builder = ProgramBuilder()
    let transformer = TransformerPass(builder, model, pass, drops: false)
    let rows = transformer.output.rows(builder.input("logit rows", TensorType(.int32, [count])))
    let weights = transformer.weights
    return builder.program([Linear(rows, LinearWeight(matrix: weights[weights.outputRole]), model.precision).output])
  }

  /// The losses, and the gradients of the trained weights added to what they were.
  ///
  /// - Inputs: of `TransformerPass` with dropout, and the gradients, whose memory is taken. Outputs: the gradients, [loss rows]
  ///   the losses, and in a mixture `TransformerPass.expertUse`.
  func gradients(_ pass: PassShape) -> Program {
    let builder = ProgramBuilder()
    let transformer = TransformerPass(builder, model, pass, drops: true)
    let weights = transformer.weights
    let layer = outputLayer(transformer, isTrained: true)
    weights.add(layer.dMatrix, weights.outputRole)
    transformer.backward(transformer.lossRowsBackward(layer.dInput))
    let sums = zip(model.trained.entries, weights.trainedGradients).map { entry, gradient in
      builder.input(Self.gradientName(entry), gradient.type) + gradient
    }
    let use = transformer.expertUse.map { [$0.balance, $0.choices] } ?? []
    return builder.program(sums + [layer.losses] + use, donated: donated(Self.gradientName))
  }

  private func outputLayer(_ transformer: TransformerPass, isTrained: Bool) -> OutputLayer {
    OutputLayer(
      transformer.lossRows, transformer.weights[transformer.weights.outputRole], targets: transformer.batch.targets,
      weights: transformer.batch.lossWeights, rows: model.lossRows, model.precision, isTrained: isTrained)
  }

  // MARK: - Optimizer

  /// - Outputs: a zero for each number of the trained weights.
  func zeros(_ entries: [ParameterEntry]) -> Program {
    let builder = ProgramBuilder()
    return builder.program(entries.map { builder.constant(0, TensorType(.float32, $0.shape)) })
  }

  /// - Inputs: the gradients. Outputs: [entries] the sum of squares of each.
  func gradientSquares() -> Program {
    let builder = ProgramBuilder()
    return builder.program([
      .concatenated(
        model.trained.entries.map { entry in
          let gradient = builder.input(Self.gradientName(entry), TensorType(.float32, entry.shape))
          let squares = gradient * gradient
          return entry.shape.indices.reduce(squares) { $0.sum($1) }.reshaped([1])
        }, 0)
    ])
  }

  /// One step of the optimizer.
  ///
  /// - Inputs: weights, first moments, second moments of those that keep them, whose memory is taken; gradients;
  ///   `StepNumbers`. Outputs: the weights and moments after the step.
  func step(_ optimizer: OptimizerKind) -> Program {
    let builder = ProgramBuilder()
    let entries = model.trained.entries
    let twice = Self.withSecondMoment(model.trained, optimizer)
    func inputs(_ entries: [ParameterEntry], _ name: (ParameterEntry) -> String) -> [String: Tensor] {
      var result: [String: Tensor] = [:]
      for entry in entries { result[entry.key] = builder.input(name(entry), TensorType(.float32, entry.shape)) }
      return result
    }
    let (weights, first, second) = (
      inputs(entries, \.key), inputs(entries, Self.firstName), inputs(twice, Self.secondName)
    )
    let gradients = inputs(entries, Self.gradientName)
    let numbers = StepNumbers(builder.input("step", StepNumbers.type))
    var (newWeights, newFirst, newSecond): ([Tensor], [Tensor], [Tensor]) = ([], [], [])
    for entry in entries {
      let (weight, gradient, moment) = (weights[entry.key]!, gradients[entry.key]!, first[entry.key]!)
      if entry.isMovedByMuon(optimizer) {
        let step = Muon(weight: weight, gradient: gradient, momentum: moment, numbers, model.precision)
        newWeights.append(step.weight)
        newFirst.append(step.momentum)
      } else {
        let step = AdamW(
          weight: weight, gradient: gradient, firstMoment: moment, secondMoment: second[entry.key]!, numbers,
          isDecayed: entry.role.isDecayed)
        newWeights.append(step.weight)
        newFirst.append(step.firstMoment)
        newSecond.append(step.secondMoment)
      }
    }
    var taken = donated(\.key)
    taken.merge(donated(Self.firstName, from: entries.count)) { $1 }
    for (place, entry) in twice.enumerated() { taken[Self.secondName(entry)] = 2 * entries.count + place }
    return builder.program(newWeights + newFirst + newSecond, donated: taken)
  }

  /// Muon keeps no second moment.
  static func withSecondMoment(_ table: ParameterTable, _ optimizer: OptimizerKind) -> [ParameterEntry] {
    table.entries.filter { !$0.isMovedByMuon(optimizer) }
  }

  // MARK: - Names of inputs

  private static func gradientName(_ entry: ParameterEntry) -> String { "gradient of \(entry.key)" }
  private static func firstName(_ entry: ParameterEntry) -> String { "first moment of \(entry.key)" }
  private static func secondName(_ entry: ParameterEntry) -> String { "second moment of \(entry.key)" }

  /// The inputs of the trained weights, whose memory outputs in the same order take.
  private func donated(_ name: (ParameterEntry) -> String, from first: Int = 0) -> [String: Int] {
    Dictionary(uniqueKeysWithValues: model.trained.entries.enumerated().map { (name($1), first + $0) })
  }
}
