/// How an engine is to work.
package struct EngineSettings: Sendable {
  /// The type of the numbers that matrix products take; weights are kept in fp32.
  package var precision: ElementType
  /// The most tokens of a batch.
  package var maximumTokens: Int
  /// The most tokens of a document, by which memory is counted; an engine takes longer ones too.
  package var longestDocument: Int
  /// Keeps of every layer its input alone, and computes the rest again in the backward pass (Chen et al. 2016,
  /// arXiv 1604.06174): less memory, more time, the same bits.
  package var recomputesActivations: Bool
  /// Nil for an engine that only computes losses.
  package var optimizer: OptimizerKind?
  /// The model's own when nil.
  package var rotaryScaling: RotaryScaling?
  /// Of an adapter's dropout.
  package var seed: UInt64
  /// What of a model that sees is trained; without meaning for others.
  package var learning: SightTraining
  /// What the engine is to learn from, by which memory is counted, the teacher's own included.
  package var teaching: Teaching?
  /// This process among those that share the work; above one only for a `SharedTrainingEngine`.
  package var rank = 0
  package var ranks = 1

  package init(
    precision: ElementType, maximumTokens: Int, longestDocument: Int? = nil, recomputesActivations: Bool = false,
    optimizer: OptimizerKind?, rotaryScaling: RotaryScaling? = nil, seed: UInt64 = 0,
    learning: SightTraining = .everything, rank: Int = 0, ranks: Int = 1
  ) {
    self.precision = precision
    self.maximumTokens = maximumTokens
    self.longestDocument = min(maximumTokens, longestDocument ?? maximumTokens)
    self.recomputesActivations = recomputesActivations
    self.optimizer = optimizer
    self.rotaryScaling = rotaryScaling
    self.seed = seed
    self.learning = learning
    self.rank = rank
    self.ranks = ranks
  }

  /// The same of an engine that only computes losses.
  package var withoutTraining: EngineSettings {
    var settings = self
    (settings.optimizer, settings.teaching, settings.rank, settings.ranks) = (nil, nil, 0, 1)
    return settings
  }
}

/// Makes engines of one kind. The program chooses one and passes it to training.
package protocol TrainingEngineProvider {
  /// What its engines compute fastest on this machine: the default of a run.
  static var fastestPrecision: ElementType { get }

  /// Whether a run recomputes activations unless it is asked otherwise.
  static var recomputesByDefault: Bool { get }

  /// - Throws: `OutOfMemoryError`, and what reading an adapter's base throws.
  func makeEngine(_ model: TrainableModel, _ settings: EngineSettings) throws -> any TrainingEngine

  /// Bytes of the host's memory that such an engine takes, trained weights and code included.
  ///
  /// - Parameter lora: the adapter that is trained; nil for the whole model.
  func memoryBytes(_ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings) throws
    -> Int

  /// What such an engine keeps in the memory of a device; nil where that is the host's.
  func deviceMemory(_ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings) throws
    -> DeviceMemory?

  /// Why the device of its engines no longer computes, which nothing but a new start changes: after that engines give numbers
  /// that are none (NaN) and change nothing.
  var failure: (any Error)? { get }

  /// How its engines compute attention, where there is a choice; known once an engine or what it takes has been asked for.
  var attention: String? { get }
}

extension TrainingEngineProvider {
  package static var recomputesByDefault: Bool { false }

  package func deviceMemory(
    _ configuration: ModelConfiguration, lora: LoRAConfiguration?, _ settings: EngineSettings
  ) throws -> DeviceMemory? { nil }

  package var failure: (any Error)? { nil }

  package var attention: String? { nil }
}
