import Model
import Programs

/// The programs that training is made of. Weights, gradients and moments are inputs and outputs, and so stay where the programs
/// run; only batches, losses and a few sums cross.
struct ModelPrograms {
  /// What the programs of a model that has a teacher are made for.
  struct TeacherShape: Hashable {
    var distillation: Distillation
    /// Of the teacher.
    var hiddenSize: Int

    init(_ teaching: Teaching) {
      (distillation, hiddenSize) = (teaching.distillation, teaching.configuration.hiddenSize)
    }
  }

  /// What the losses of a program come from in addition to the logits and the targets.
  enum LossKind: Hashable {
    case targets
    case teacher(TeacherShape)
    /// A value head gives the rows values, which count as well.
    case values
  }

  let model: ProgramModel

  /// The loss of each row of which one is asked for.
  ///
  /// - Inputs: of `TransformerPass`; with values [1, hidden] the head. Outputs: [loss rows], with values those, too.
  /// - Parameter drops: whether dropout leaves anything out.
  func losses(_ pass: PassShape, drops: Bool = false, withValues: Bool = false) -> Program {
    let builder = makeBuilder()
    let transformer = TransformerPass(builder, model, pass, drops: drops)
    let losses = outputLayer(transformer, isTrained: false).losses
    guard withValues else { return builder.program([losses]) }
    let values = ValueLayer(transformer.lossRows, head: valueHead(builder)).values
    return builder.program([losses, values])
  }

  private func valueHead(_ builder: ProgramBuilder) -> Tensor {
    builder.input("value head", TensorType(.float32, [1, model.shape.hiddenSize]))
  }

  /// The logits of some rows.
  ///
  /// - Inputs: of `TransformerPass`, and int32, [count] the rows. Outputs: [count, vocabulary].
  func logits(_ pass: PassShape, count: Int) -> Program {
    let builder = makeBuilder()
    let transformer = TransformerPass(builder, model, pass, drops: false)
    let rows = transformer.output.rows(builder.input("logit rows", TensorType(.int32, [count])))
    let weights = transformer.weights
    return builder.program([Linear(rows, LinearWeight(matrix: weights[weights.outputRole]), model.precision).output])
  }

  /// What the output layer reads of the rows of which a loss is asked for.
  ///
  /// - Inputs: of `TransformerPass`. Outputs: [loss rows, hidden].
  func lossRows(_ pass: PassShape) -> Program {
    let builder = makeBuilder()
    return builder.program([TransformerPass(builder, model, pass, drops: false).lossRows])
  }

  /// The losses, and the gradients of the trained weights added to what they were.
  ///
  /// - Inputs: of `TransformerPass` with dropout; of a teacher its `lossRows` and the matrix of its output layer, or for values
  ///   [1, hidden] the head and [loss rows] how much each value counts; and the gradients, whose memory is taken. Outputs: the
  ///   gradients, [loss rows] the losses, with a teacher the cross-entropies or with values [hidden] the gradient of the head,
  ///   and in a mixture `TransformerPass.expertUse`.
  func gradients(_ pass: PassShape, _ kind: LossKind = .targets) -> Program {
    let builder = makeBuilder()
    let transformer = TransformerPass(builder, model, pass, drops: true)
    let weights = transformer.weights
    var loss: OutputLoss?
    if case .teacher(let shape) = kind {
      loss = .distillation(
        shape.distillation, targets: transformer.batch.targets,
        OutputLoss.Teacher(
          rows: builder.input("teacher's rows", TensorType(.float32, [pass.lossRows, shape.hiddenSize])),
          matrix: builder.input(
            "teacher's output", TensorType(.float32, [model.shape.vocabularySize, shape.hiddenSize]))))
    }
    let layer = outputLayer(transformer, loss, isTrained: true)
    weights.add(layer.dMatrix, weights.outputRole)
    // Of a teacher's losses the cross-entropies, of values the head's gradient.
    var (dRows, more) = (layer.dInput, layer.crossEntropies)
    if kind == .values {
      let values = ValueLayer(transformer.lossRows, head: valueHead(builder))
      let backward = values.backward(weights: builder.input("value weights", TensorType(.float32, [pass.lossRows])))
      (dRows, more) = (dRows + backward.dRows, backward.dHead)
    }
    transformer.backward(transformer.lossRowsBackward(dRows))
    let sums = zip(model.trained.entries, weights.trainedGradients).map { entry, gradient in
      builder.input(Self.gradientName(entry), gradient.type) + gradient
    }
    let use = transformer.expertUse.map { [$0.balance, $0.choices] } ?? []
    return builder.program(
      sums + [layer.losses] + (more.map { [$0] } ?? []) + use,
      donated: donated(Self.gradientName, of: model.trained.entries))
  }

  private func makeBuilder() -> ProgramBuilder { ProgramBuilder(replicas: model.replicas) }

  /// - Parameter loss: nil for the model's own.
  private func outputLayer(_ transformer: TransformerPass, _ loss: OutputLoss? = nil, isTrained: Bool) -> OutputLayer {
    OutputLayer(
      transformer.lossRows, transformer.weights[transformer.weights.outputRole],
      loss ?? (model.shape.scoresTexts ? .score : .crossEntropy(targets: transformer.batch.targets)),
      weights: transformer.batch.lossWeights, rows: model.sizes.lossRows, model.precision, isTrained: isTrained)
  }

  // MARK: - Optimizer

  /// - Outputs: a zero for each number of these shapes.
  func zeros(_ shapes: [[Int]]) -> Program {
    let builder = makeBuilder()
    return builder.program(shapes.map { builder.constant(0, TensorType(.float32, $0)) })
  }

  /// The gradients of all replicas together, and how large they are.
  ///
  /// - Inputs: the gradients. Outputs: where there are several replicas, of each gradient what the replica's step takes
  ///   (`OptimizerShare`); last [entries] the sums of squares, in any order.
  func gradientSums(_ optimizer: OptimizerKind) -> Program {
    let builder = makeBuilder()
    let entries = model.trained.entries
    let shares = entries.map { OptimizerShare($0, optimizer, replicas: model.replicas) }
    let sums = zip(entries, shares).map { entry, share in
      share.ofSum(builder.input(Self.gradientName(entry), TensorType(.float32, entry.shape)))
    }
    func squares(isPart: Bool) -> Tensor? {
      let squares = zip(sums, shares).filter { $1.isPart == isPart }.map { sum, _ in
        sum.shape.indices.reduce(sum * sum) { $0.sum($1) }.reshaped([1])
      }
      return squares.isEmpty ? nil : .concatenated(squares, 0)
    }
    let all = [squares(isPart: false), squares(isPart: true)?.exchanged(.sum)].compactMap { $0 }
    return builder.program((model.replicas > 1 ? sums : []) + [.concatenated(all, 0)])
  }

  /// One step of the optimizer, for the weights that this process moves.
  ///
  /// - Inputs: weights, first moments, second moments of those that keep them, whose memory is taken; gradients, and like the
  ///   moments of each only the replica's `OptimizerShare`; `StepNumbers`. Outputs: the weights and moments after the step.
  func step(_ optimizer: OptimizerKind) -> Program {
    let builder = makeBuilder()
    let entries = model.moved
    let twice = Self.withSecondMoment(entries, optimizer)
    func share(_ entry: ParameterEntry) -> OptimizerShare {
      OptimizerShare(entry, optimizer, replicas: model.replicas)
    }
    func inputs(
      _ entries: [ParameterEntry], _ name: (ParameterEntry) -> String, _ shape: (ParameterEntry) -> [Int]
    ) -> [String: Tensor] {
      var result: [String: Tensor] = [:]
      for entry in entries { result[entry.key] = builder.input(name(entry), TensorType(.float32, shape(entry))) }
      return result
    }
    let weights = inputs(entries, \.key, \.shape)
    let first = inputs(entries, Self.firstName) { share($0).shape }
    let second = inputs(twice, Self.secondName) { share($0).shape }
    let gradients = inputs(entries, Self.gradientName) { share($0).shape }
    let numbers = StepNumbers(builder.input("step", StepNumbers.type))
    var (newWeights, newFirst, newSecond): ([Tensor], [Tensor], [Tensor]) = ([], [], [])
    for entry in entries {
      let (weight, gradient, moment) = (weights[entry.key]!, gradients[entry.key]!, first[entry.key]!)
      if entry.isMovedByMuon(optimizer) {
        let step = Muon(weight: weight, gradient: gradient, momentum: moment, numbers, model.precision)
        newWeights.append(step.weight)
        newFirst.append(step.momentum)
      } else {
        let share = share(entry)
        let step = AdamW(
          weight: share.own(weight), gradient: gradient, firstMoment: moment, secondMoment: second[entry.key]!, numbers,
          isDecayed: entry.role.isDecayed)
        newWeights.append(share.whole(step.weight))
        newFirst.append(step.firstMoment)
        newSecond.append(step.secondMoment)
      }
    }
    var taken = donated(\.key, of: entries)
    taken.merge(donated(Self.firstName, of: entries, from: entries.count)) { $1 }
    for (place, entry) in twice.enumerated() { taken[Self.secondName(entry)] = 2 * entries.count + place }
    return builder.program(newWeights + newFirst + newSecond, donated: taken)
  }

  /// Muon keeps no second moment.
  static func withSecondMoment(_ entries: [ParameterEntry], _ optimizer: OptimizerKind) -> [ParameterEntry] {
    entries.filter { !$0.isMovedByMuon(optimizer) }
  }

  // MARK: - Names of inputs

  private static func gradientName(_ entry: ParameterEntry) -> String { "gradient of \(entry.key)" }
  private static func firstName(_ entry: ParameterEntry) -> String { "first moment of \(entry.key)" }
  private static func secondName(_ entry: ParameterEntry) -> String { "second moment of \(entry.key)" }

  /// The inputs of some weights, whose memory outputs in the same order take.
  private func donated(
    _ name: (ParameterEntry) -> String, of entries: [ParameterEntry], from first: Int = 0
  ) -> [String: Int] {
    Dictionary(uniqueKeysWithValues: entries.enumerated().map { (name($1), first + $0) })
  }
}
