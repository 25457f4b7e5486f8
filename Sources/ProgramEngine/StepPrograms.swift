import Model
import Programs

/// The programs of the largest batch of a run, known before there is an engine: what they take decides whether it fits.
package struct StepPrograms {
  /// Of a micro-batch: losses and gradients, or losses alone where nothing is trained.
  package let pass: Program
  /// What the pass of a model that has a teacher needs of it; nil without one.
  private let teacher: Teacher?
  /// Of the optimizer; nil where nothing is trained.
  package let step: Program?
  /// Bytes of weights, gradients and moments.
  package let keptBytes: Int
  /// Bytes that a batch brings.
  private let batchBytes: Int

  private struct Teacher {
    var pass: Program
    var keptBytes: Int
    /// Of these, those of the matrix that the other pass reads, too.
    var outputBytes: Int
  }

  /// - Parameters:
  ///   - lora: the adapter that is trained; nil for the whole model.
  ///   - teacherSizes: for its programs, where they are others.
  ///   - replicas: devices that share the batch; bytes are those of one.
  /// - Throws: `ConfigurationError` when the model is not possible.
  package init(
    _ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings,
    _ sizes: ProgramSizes = ProgramSizes(), teacherSizes: ProgramSizes? = nil, replicas: Int = 1
  ) throws {
    let table = try ParameterTable(configuration)
    let model = ProgramModel(
      configuration, table: table, trained: lora.map { ParameterTable($0, configuration) } ?? table, adapter: lora,
      settings, sizes, replicas: replicas)
    let programs = ModelPrograms(model: model)
    let tokens = PassShape.mostTokens(
      of: settings.maximumTokens, longestDocument: settings.longestDocument, replicas: replicas)
    let shape = PassShape(tokens: tokens, longestDocument: settings.longestDocument, maximumTokens: tokens)
    let trained = model.trained.entries.reduce(0) { $0 + 4 * $1.count }
    let frozen = model.frozen.reduce(0) { $0 + model.type(ofFrozen: $1).byteCount }
    teacher = try settings.teaching.map { teaching in
      let table = try ParameterTable(teaching.configuration)
      let other = ProgramModel(
        teaching.configuration, table: table, trained: table, adapter: nil, settings.withoutTraining,
        teacherSizes ?? sizes,
        replicas: replicas)
      return Teacher(
        pass: ModelPrograms(model: other).lossRows(shape), keptBytes: table.entries.reduce(0) { $0 + 4 * $1.count },
        outputBytes: 4 * teaching.configuration.vocabularySize * teaching.configuration.hiddenSize)
    }
    if let optimizer = settings.optimizer {
      pass = programs.gradients(
        shape, settings.teaching.map { .teacher(ModelPrograms.TeacherShape($0)) } ?? .targets)
      step = programs.step(optimizer)
      let second = ModelPrograms.withSecondMoment(model.moved, optimizer)
      func shared(_ entries: [ParameterEntry]) -> Int {
        entries.reduce(0) { $0 + 4 * OptimizerShare($1, optimizer, replicas: replicas).count }
      }
      // The sums of several replicas' or processes' gradients are kept beside these.
      let sums = replicas > 1 ? shared(model.trained.entries) : settings.ranks > 1 ? shared(model.moved) : 0
      let moments = shared(model.moved) + shared(second)
      keptBytes = frozen + 2 * trained + moments + sums + (teacher?.keptBytes ?? 0)
      batchBytes = pass.argumentBytes - frozen - 2 * trained - (teacher?.outputBytes ?? 0)
    } else {
      (pass, step) = (programs.losses(shape), nil)
      keptBytes = frozen + trained
      batchBytes = pass.argumentBytes - keptBytes
    }
  }

  /// What they take on a device.
  ///
  /// - Throws: what compiling them throws.
  package func memory(on device: some ProgramMeter) throws -> DeviceMemory {
    let passes = try ([pass] + (teacher.map { [$0.pass] } ?? [])).map(device.temporaryBytes)
    let needed = neededBytes(pass: passes.max()!, step: try step.map(device.temporaryBytes) ?? 0)
    return DeviceMemory(
      keptBytes: keptBytes, temporaryBytes: needed - keptBytes, availableBytes: device.memoryBytes)
  }

  /// All that is there at a time, at most.
  ///
  /// - Parameters:
  ///   - pass: temporaries of the pass, in bytes; `step` likewise.
  package func neededBytes(pass: Int, step: Int) -> Int { keptBytes + max(batchBytes + pass, step) }
}
