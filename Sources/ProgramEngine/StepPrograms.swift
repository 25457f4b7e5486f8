import Model
import Programs

/// The programs of the largest batch of a run, known before there is an engine: what they take decides whether it fits.
package struct StepPrograms {
  /// Of a micro-batch: losses and gradients, or losses alone where nothing is trained.
  package let pass: Program
  /// Of the optimizer; nil where nothing is trained.
  package let step: Program?
  /// Bytes of weights, gradients and moments.
  package let keptBytes: Int
  /// Bytes that a batch brings.
  private let batchBytes: Int

  /// - Parameters:
  ///   - lora: the adapter that is trained; nil for the whole model.
  ///   - lossRows: rows of logits that are there at a time.
  ///   - expertRows: the most rows that pass an expert's products at a time.
  ///   - replicas: devices that share the batch; bytes are those of one.
  /// - Throws: `ConfigurationError` when the model is not possible.
  package init(
    _ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings,
    lossRows: Int = 2048, expertRows: Int = 2048, replicas: Int = 1
  ) throws {
    let table = try ParameterTable(configuration)
    let model = ProgramModel(
      configuration, table: table, trained: lora.map { ParameterTable($0, configuration) } ?? table, adapter: lora,
      settings, lossRows: lossRows, expertRows: expertRows, replicas: replicas)
    let programs = ModelPrograms(model: model)
    let tokens = PassShape.mostTokens(
      of: settings.maximumTokens, longestDocument: settings.longestDocument, replicas: replicas)
    let shape = PassShape(tokens: tokens, longestDocument: settings.longestDocument, maximumTokens: tokens)
    let trained = model.trained.entries.reduce(0) { $0 + 4 * $1.count }
    let frozen = model.frozen.reduce(0) { $0 + model.type(ofFrozen: $1).byteCount }
    if let optimizer = settings.optimizer {
      pass = programs.gradients(shape)
      step = programs.step(optimizer)
      let second = ModelPrograms.withSecondMoment(model.trained, optimizer)
      func shared(_ entries: [ParameterEntry]) -> Int {
        entries.reduce(0) { $0 + 4 * OptimizerShare($1, optimizer, replicas: replicas).count }
      }
      // With several replicas their gradients, too, are summed up to shares.
      let moments = shared(model.trained.entries) * (replicas > 1 ? 2 : 1) + shared(second)
      keptBytes = frozen + 2 * trained + moments
      batchBytes = pass.argumentBytes - frozen - 2 * trained
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
    let needed = neededBytes(
      pass: try device.temporaryBytes(pass), step: try step.map(device.temporaryBytes) ?? 0)
    return DeviceMemory(
      keptBytes: keptBytes, temporaryBytes: needed - keptBytes, availableBytes: device.memoryBytes)
  }

  /// All that is there at a time, at most.
  ///
  /// - Parameters:
  ///   - pass: temporaries of the pass, in bytes; `step` likewise.
  package func neededBytes(pass: Int, step: Int) -> Int { keptBytes + max(batchBytes + pass, step) }
}
