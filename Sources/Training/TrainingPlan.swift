import Corpus
import Foundation
import Machine
import Model
import ModelFiles
import Storage
import Tokenization
import Vision

/// Everything about a run that is known before its first step, checked against the data, the model and the machine.
package struct TrainingPlan {
  package let stage: Stage
  package let settings: ResolvedSettings
  package let dataset: TokenShardDataset
  package let configuration: ModelConfiguration
  /// What is trained, and where it lies.
  let trained: ParameterTable
  /// The checkpoint to go on from.
  package let checkpoint: String?
  /// The record of the run that is to go on, if it is to become longer: what is to be written before the first step.
  package private(set) var extendedRecord: RunRecord?
  package let dataManifestHash: String
  /// Identifies the model that the run begins with: `ModelWeights.contentHash`, followed by that of the
  /// adapter's file where the model is one with an adapter. Nil for random weights.
  package let startModelHash: String?
  /// The model that this one learns from, if any.
  package let teacher: TeacherModel?
  /// What counts more than other tokens, if anything does.
  package let thinkTags: ThinkTags?
  /// The model's, with which the data were made, and where its files are.
  package let tokenizer: Tokenizer
  package let tokenizerDirectory: String
  private let source: ModelSource
  /// The tower that the model gets, if it learns to see in this run.
  private let newSight: NewSight?

  /// Where the first weights come from.
  private enum ModelSource {
    case random
    case directory(String)
    /// An adapter of these settings for the model in a directory: a new one, or that of a checkpoint.
    case base(String, adapter: String?)

    init(_ asked: TrainingSettings, _ stage: Stage, checkpoint: String?) throws {
      let saved = checkpoint.map { $0 + "/model" }
      if asked.hasAdapter(in: stage), let from = asked.from {
        self = .base(try TrainingPlan.baseDirectory(from), adapter: saved)
      } else if let directory = try saved ?? asked.from.map(resolveModelDirectory) {
        self = .directory(directory)
      } else {
        self = .random
      }
    }

    /// That of the whole model; nil for a new one.
    var directory: String? {
      switch self {
      case .random: nil
      case .directory(let path), .base(let path, _): path
      }
    }

    /// Nil for a new model, which has that of the data.
    var tokenizerDirectory: String? { if case .base(_, let saved?) = self { saved } else { directory } }
  }

  // MARK: - Making a plan

  /// The plan of a new run.
  package init(_ stage: Stage, _ settings: TrainingSettings) throws {
    try self.init(stage, settings, record: nil, checkpoint: nil, RunProgress())
  }

  /// The plan of the rest of a run, from its newest checkpoint or, where there is none yet, from its beginning. With a
  /// greater length it has a new schedule from there on.
  ///
  /// - Parameters:
  ///   - settings: those of the record, with the changes that the user asks for.
  /// - Throws: `TrainingError` also when the changes would make it another run, or the data are no longer the same.
  package init(resuming run: RunDirectory, record: RunRecord, _ stage: Stage, _ settings: TrainingSettings) throws {
    guard record.stage == stage.name else {
      throw TrainingError(
        "\(run.path) is a run of minimind \(record.stage). Resume it with: minimind \(record.stage) --resume \(run.path)"
      )
    }
    let altering = record.options.alteringOptions(in: settings, of: stage)
    guard altering.isEmpty else {
      throw TrainingError(
        "\(run.path) cannot be resumed with another \(altering.joined(separator: ", ")): it would become another run. "
          + "Leave that out, or begin a new run.")
    }
    if let from = settings.from, from != record.options.from {
      guard let hash = record.startModelHash else {
        throw TrainingError("\(run.path) was begun with random weights, and with no other model. Leave out --from.")
      }
      let found = try Self.modelHash(from)
      // That of a tower may follow.
      guard hash == found || record.options.tower != nil && hash.hasPrefix(found + "+") else {
        throw Self.otherStartModel(settings)
      }
    }
    let data = try Self.dataDirectory(settings)
    guard FileManager.default.fileExists(atPath: data) else {
      throw TrainingError("\(data), the data of \(run.path), is not there. Say where it is by --data.")
    }
    let manifestHash = try Self.manifestHash(data)
    guard manifestHash == record.dataManifestHash else {
      throw TrainingError(
        "\(data) is not the data that \(run.path) was begun with (its manifest differs). "
          + "Give their path by --data. To train it further on other data, begin a new run with --from \(run.path).")
    }
    let checkpoint = run.checkpointSteps.last.map(run.checkpointPath)
    let state = try checkpoint.map { try Checkpoint.state(of: $0, totalSteps: record.totalSteps) } ?? TrainingState()
    let scheduleStart = record.extensions.last?.fromStep ?? 0
    let isLonger = settings.hasOtherLength(than: record.options)
    // Where the checkpoint that an extension began with is lost, it begins with the one before.
    let isExtended = isLonger || scheduleStart > state.step
    try self.init(
      stage, settings, record: record, checkpoint: checkpoint,
      RunProgress(
        step: state.step, position: state.position, scheduleStart: isExtended ? state.step : scheduleStart))
    if isExtended { extendedRecord = record.extended(after: state.step, to: self.settings, stage) }
    guard !isLonger || totalSteps > record.totalSteps else {
      let asked = settings.steps.map { "--steps \($0)" } ?? settings.epochs.map { "--epochs \($0)" } ?? ""
      throw TrainingError(
        "\(run.path) is a run of \(record.totalSteps) steps, and \(asked) does not make it longer. "
          + "Give more, or leave that out.")
    }
    guard isExtended || totalSteps == record.totalSteps, configuration.parameterCount == record.parameterCount else {
      throw TrainingError(
        "\(run.path)/\(RunRecord.fileName) contradicts the run's data or model. Begin a new run.")
    }
  }

  private init(
    _ stage: Stage, _ asked: TrainingSettings, record: RunRecord?, checkpoint: String?, _ progress: RunProgress
  ) throws {
    self.stage = stage
    self.checkpoint = checkpoint
    try asked.validate(for: stage)
    let data = try Self.dataDirectory(asked)
    let manifest = try DataManifest(directory: data)
    guard manifest.kind == stage.dataKind else {
      throw TrainingError(
        "\(data) was prepared for \(manifest.kind.rawValue), not for \(stage.name). "
          + "Prepare the text with: minimind data \(stage.dataKind.rawValue)")
    }
    try asked.validateTeacher(stored: manifest.teacher, data: data)
    source = try ModelSource(asked, stage, checkpoint: checkpoint)
    tokenizerDirectory = source.tokenizerDirectory ?? data
    tokenizer = try Tokenizer(TokenizerFiles(tokenizerDirectory))
    var stored =
      try source.directory.map { try ModelConfiguration(modelDirectory: $0) }
      ?? Self.newModel(asked, data, manifest)
    newSight = checkpoint == nil ? try NewSight(asked, model: stored, tokenizer) : nil
    if let newSight { stored.sight = newSight.configuration }
    try asked.checkSight(of: stored, stage)
    if !stage.scores { try stored.requireLogits(asked.modelName) }
    guard !stage.scores || Architecture(stored).scoringName != nil else {
      throw TrainingError(
        "\(asked.modelName) is a \(Architecture(stored).rawValue), of which transformers knows no model that scores. Choose "
          + "another --from.")
    }
    configuration = stage.scores ? stored.scoring : stored
    // The model that a checkpoint's run began with does not follow from its weights.
    startModelHash = checkpoint != nil ? record?.startModelHash : try newSight.startHash(asked.from.map(Self.modelHash))
    if let expected = record?.startModelHash, expected != startModelHash { throw Self.otherStartModel(asked) }
    if let length = asked.sequenceLength, length > configuration.contextLength {
      throw TrainingError(
        "--sequence-length \(length) is longer than the model's \(configuration.contextLength) "
          + "(\(configuration.contextSetting)). Lower it.")
    }
    dataManifestHash = try Self.manifestHash(data)
    // Before the vocabulary's size, which differs where the tokenizer is another one.
    dataset = try TokenShardDataset(directory: data, tokenizerHash: tokenizer.contentHash)
    guard configuration.vocabularySize >= manifest.vocabularySize else {
      throw TrainingError(
        "the model has \(configuration.vocabularySize) tokens (vocab_size), fewer than the \(manifest.vocabularySize) "
          + "of the tokenizer that made \(data). Raise vocab_size in the model's configuration.")
    }
    try Self.check(manifest.pictures, data, configuration, asked)
    settings = try ResolvedSettings(asked, stage, data: data, configuration, dataset, from: progress)
    try Self.check(
      manifest.pictures?.features, data, asked, settings.learning, configuration.sight?.tower,
      identity: { [configuration, newSight, source] in
        if let newSight { return newSight.towerIdentity }
        return try source.directory.flatMap { directory in
          try configuration.sight?.tower.identity(read: try StoredModel(modelDirectory: directory).read)
        }
      })
    if !stage.readsDocuments { _ = try settings.rewardSum() }
    let thinkWeight = settings.thinkWeight
    thinkTags = thinkWeight == 1 ? nil : try ThinkTags(weight: thinkWeight, tokenizer)
    teacher = try asked.teacher.map { [configuration, tokenizer, settings] path in
      try TeacherModel(
        path, student: configuration, tokenizerHash: tokenizer.contentHash, sequenceLength: settings.sequenceLength)
    }
    try Self.checkTeacher(manifest.teacher, teacher, configuration, settings, dataset)
    if let record, asked.teacher != nil, record.teacherHash != teacher?.contentHash, let path = asked.teacher {
      throw TrainingError(
        "\(path) is not the teacher that the run was begun with (its weights differ). Give that model's path by --teacher, "
          + "or begin a new run.")
    }
    trained =
      if let lora = settings.lora { ParameterTable(lora, configuration) } else { try ParameterTable(configuration) }
  }

  private static func dataDirectory(_ settings: TrainingSettings) throws(TrainingError) -> String {
    guard let data = settings.data else { throw TrainingError("a run needs data. Give them by --data DIR.") }
    return data
  }

  /// The directory of the model that an adapter is to be trained on.
  private static func baseDirectory(_ from: String) throws -> String {
    let directory = try resolveModelDirectory(from)
    guard !PEFTAdapter.isAdapter(directory) else {
      throw TrainingError(
        "\(from) is an adapter, and another one cannot be trained on it. "
          + "Make it a model first: minimind merge --adapter \(from) --to DIR")
    }
    // An adapter names its base, and may be read from elsewhere.
    return URL(fileURLWithPath: directory).standardizedFileURL.path
  }

  private static func modelHash(_ path: String) throws -> String {
    try ModelWeights.contentHash(of: try resolveModelDirectory(path))
  }

  private static func otherStartModel(_ settings: TrainingSettings) -> TrainingError {
    TrainingError(
      "\(settings.from ?? "") is not the model that the run was begun with (its weights differ). "
        + "Give that model's path by --from, or begin a new run.")
  }

  static func manifestHash(_ data: String) throws -> String {
    // Says in its own words what is wrong with a directory that holds no data.
    _ = try DataManifest(directory: data)
    return try MappedFile.contents(of: data + "/manifest.json").withUnsafeBytes { SHA256.hexadecimalDigest($0) }
  }

  /// The configuration for `--model`: a file's as it is; a named model's fitted to the data's tokenizer and sequences.
  private static func newModel(
    _ settings: TrainingSettings, _ data: String, _ manifest: DataManifest
  ) throws -> ModelConfiguration {
    let name = settings.model ?? ""
    if name.hasSuffix(".json") { return try ModelConfiguration(huggingFaceConfig: name) }
    guard (try? resolveModelDirectory(name)) == nil || ModelConfiguration.names.contains(name) else {
      throw TrainingError("\(name) is a model, and --model makes a new one. Train it further with --from \(name).")
    }
    var configuration = try ModelConfiguration.named(name)
    let tokenizer = try Tokenizer(directory: data)
    configuration.vocabularySize = manifest.vocabularySize
    configuration.beginTokenID = tokenizer.beginToken.map(Int.init)
    configuration.endTokenIDs = [Int(tokenizer.endToken)]
    configuration.maximumSequenceLength = max(configuration.maximumSequenceLength, settings.sequenceLength ?? 0)
    return configuration
  }

  // MARK: - What the loop asks

  package var totalSteps: Int { settings.totalSteps }
  var sequenceLength: Int { settings.sequenceLength }
  var microBatchTokens: Int { settings.microBatchTokens }
  var evalInterval: Int { settings.evalInterval }
  var checkpointInterval: Int { settings.checkpointInterval }

  var schedule: LearningRateSchedule {
    LearningRateSchedule(
      shape: settings.schedule, peak: settings.learningRate, warmupSteps: settings.warmupSteps, totalSteps: totalSteps,
      startStep: settings.scheduleStart)
  }

  /// Whether the model writes answers in the run, to learn from them.
  package var writesAnswers: Bool { !stage.readsDocuments || settings.onPolicyShare > 0 }

  /// The documents for training, from a position on.
  ///
  /// - Throws: `CorpusError` when it does not lie in the data.
  package func shardSource(position: BatchPosition) throws -> ShardSource {
    try ShardSource(
      dataset.training, documentsPerSample: stage.dataKind.documentsPerSample, scores: stage.scores, settings.sizes,
      settings.length,
      seed: settings.seed, position: position)
  }

  /// The prompts of a split with answers to others, in sequences and batches of the run's sizes.
  func mismatchedAnswers(_ split: TokenSplit) -> MismatchedAnswers {
    MismatchedAnswers(split, sequenceLength: sequenceLength, batchTokens: microBatchTokens)
  }

  func makeModel() throws -> TrainableModel {
    let seed = UInt64(truncatingIfNeeded: settings.seed)
    switch source {
    case .random:
      let parameters = try Parameters(configuration: configuration, seed: seed)
      try newSight?.readTower(into: parameters)
      return .whole(parameters)
    case .directory(let directory):
      let stored = try Parameters(modelDirectory: directory)
      guard configuration != stored.configuration else { return .whole(stored) }
      // A model that writes becomes one that scores: all except its output matrix stays. One that learns to see gets a
      // projector and a tower.
      let changed = try Parameters(configuration: configuration, seed: seed)
      for entry in changed.table.entries where stored.table.entry(entry.key) != nil {
        (changed.values + entry.offset).update(
          from: stored[entry.key].baseAddress!, count: entry.count)
      }
      try newSight?.readTower(into: changed)
      return .whole(changed)
    case .base(let directory, let saved):
      guard let lora = settings.lora else { preconditionFailure("an adapter without a rank") }
      let base = LoRABase(path: directory, contentHash: try ModelWeights(directory: directory).contentHash())
      let adapter =
        if let saved {
          try LoRAAdapter(directory: saved, lora, model: configuration, base: base)
        } else {
          try LoRAAdapter(lora, model: configuration, base: base, seed: seed)
        }
      let stored = try StoredModel(modelDirectory: directory)
      return .adapter(adapter, baseTable: stored.table, read: stored.read)
    }
  }

  /// - Throws: `TrainingError` when the engine computes no values.
  func makeValueHead(_ engine: any TrainingEngine) throws(TrainingError) -> ValueHead? {
    guard stage.learnsValues else { return nil }
    guard engine is any ValuingEngine else {
      throw TrainingError("this engine computes no values, which \(stage.name) learns. Leave out --device gpu.")
    }
    return ValueHead(width: configuration.hiddenSize)
  }

  /// Values that the optimizer changes.
  package var trainedParameterCount: Int {
    settings.lora?.parameterCount(configuration)
      ?? trained.learned(configuration, settings.learning).entries.reduce(0) { $0 + $1.count }
  }

  /// The weights that the run began with, whatever its checkpoints have become.
  ///
  /// - Throws: also `TrainingError` when that model is no longer what it was.
  func makeStartParameters() throws -> Parameters {
    guard let from = settings.recorded.from, try Self.modelHash(from) == startModelHash else {
      throw Self.otherStartModel(settings.recorded)
    }
    return try Parameters(modelDirectory: try resolveModelDirectory(from))
  }

  var title: String { "minimind \(stage.name): \(settings.modelName) on \(settings.data)" }

  /// - Parameter device: `RunRecord.device`.
  package func record(programVersion: String, device: String? = nil) -> RunRecord {
    RunRecord(
      stage: stage.name, options: settings.recorded, totalSteps: totalSteps,
      parameterCount: configuration.parameterCount,
      startModelHash: startModelHash, teacherHash: teacherHash, dataManifestHash: dataManifestHash,
      tokenizerHash: tokenizer.contentHash, programVersion: programVersion, device: device)
  }
}
