import CPUEngine
import Compute
import Corpus
import Foundation
import Machine
import Model
import ModelFiles
import Storage
import Tokenization

/// Everything about a run that is known before its first step, checked against the data, the model and the machine.
package struct TrainingPlan {
  package let stage: Stage
  /// Every option has its value here, those left out included.
  package let settings: TrainingSettings
  package let dataset: TokenShardDataset
  package let configuration: ModelConfiguration
  package let totalSteps: Int
  /// What is trained, and where it lies.
  private let trained: ParameterTable
  /// The checkpoint to go on from.
  package let checkpoint: String?
  package let dataManifestHash: String
  /// What tells the model that the run begins with from others: `ModelWeights.contentHash`, and behind it that of the
  /// adapter's file where the model is one with an adapter. Nil for random weights.
  package let startModelHash: String?
  /// The model's, with which the data were made, and where its files are.
  package let tokenizer: Tokenizer
  package let tokenizerDirectory: String
  private let source: ModelSource

  /// Where the first weights come from.
  private enum ModelSource {
    case random
    case directory(String)
    /// An adapter for the model in a directory: a new one, or that of a checkpoint.
    case base(String, adapter: String?)
  }

  // MARK: - Making a plan

  /// The plan of a new run.
  package init(_ stage: Stage, _ settings: TrainingSettings) throws {
    try self.init(stage, settings, record: nil, checkpoint: nil)
  }

  /// The plan of the rest of a run, from its newest checkpoint or, where there is none yet, from its beginning.
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
    do { try record.options.checkBounds() } catch {
      throw TrainingError("\(run.path)/\(RunRecord.fileName): \(error) Correct it, or begin a new run.")
    }
    let altering = try record.options.alteringOptions(in: settings)
    guard altering.isEmpty else {
      throw TrainingError(
        "\(run.path) cannot be resumed with another \(altering.joined(separator: ", ")): it would become another run. "
          + "Leave that out, or begin a new run.")
    }
    if let from = settings.from, from != record.options.from,
      try Self.startModelHash(from) != record.startModelHash
    {
      throw Self.otherStartModel(settings)
    }
    guard FileManager.default.fileExists(atPath: settings.data) else {
      throw TrainingError("\(settings.data), the data of \(run.path), is not there. Say where it is by --data.")
    }
    let manifestHash = try Self.manifestHash(settings.data)
    guard manifestHash == record.dataManifestHash else {
      throw TrainingError(
        "\(settings.data) is not the data that \(run.path) was begun with (its manifest differs). "
          + "Give their path by --data, or begin a new run.")
    }
    try self.init(stage, settings, record: record, checkpoint: run.checkpointSteps.last.map(run.checkpointPath))
    guard totalSteps == record.totalSteps, configuration.parameterCount == record.parameterCount else {
      throw TrainingError(
        "\(run.path)/\(RunRecord.fileName) contradicts the run's data or model. Begin a new run.")
    }
  }

  private init(_ stage: Stage, _ settings: TrainingSettings, record: RunRecord?, checkpoint: String?) throws {
    self.stage = stage
    self.checkpoint = checkpoint
    try settings.validate()
    let manifest = try DataManifest(directory: settings.data)
    guard manifest.kind == stage.dataKind else {
      throw TrainingError(
        "\(settings.data) was prepared for \(manifest.kind.rawValue), not for \(stage.name). "
          + "Prepare the text with: minimind data \(stage.dataKind.rawValue)")
    }
    let saved = checkpoint.map { $0 + "/model" }
    if settings.lora != nil, let from = settings.from {
      let directory = try Self.baseDirectory(from)
      source = .base(directory, adapter: saved)
      tokenizerDirectory = saved ?? directory
      configuration = try ModelConfiguration(modelDirectory: directory)
    } else if let directory = try saved ?? settings.from.map(resolveModelDirectory) {
      source = .directory(directory)
      tokenizerDirectory = directory
      configuration = try ModelConfiguration(modelDirectory: directory)
    } else {
      source = .random
      tokenizerDirectory = settings.data
      configuration = try Self.newModel(settings, manifest)
    }
    // What a checkpoint's run began with cannot be told from its weights.
    startModelHash = checkpoint != nil ? record?.startModelHash : try settings.from.map(Self.startModelHash)
    if let expected = record?.startModelHash, expected != startModelHash { throw Self.otherStartModel(settings) }
    guard configuration.vocabularySize >= manifest.vocabularySize else {
      throw TrainingError(
        "the model has \(configuration.vocabularySize) tokens (vocab_size), fewer than the \(manifest.vocabularySize) "
          + "of the tokenizer that made \(settings.data). Raise vocab_size in the model's configuration.")
    }
    if let length = settings.sequenceLength, length > configuration.maximumSequenceLength {
      throw TrainingError(
        "--sequence-length \(length) is longer than the model's \(configuration.maximumSequenceLength) "
          + "(max_position_embeddings). Lower it.")
    }
    tokenizer = try Tokenizer(directory: tokenizerDirectory)
    dataManifestHash = try Self.manifestHash(settings.data)
    dataset = try TokenShardDataset(directory: settings.data, tokenizerHash: tokenizer.contentHash)

    var settings = settings
    try settings.chooseAdapter(for: configuration)
    if stage.dataKind == .dpo { try settings.fitPairs(dataset, configuration) }
    settings.chooseBatch(stage, tokens: dataset.training.inputTokenCount)
    settings.sequenceLength = min(
      settings.sequenceLength ?? 512, configuration.maximumSequenceLength, settings.microBatchTokens!)
    totalSteps = try Self.stepCount(settings, dataset)
    settings.chooseIntervals(totalSteps: totalSteps, heldOutTokens: dataset.heldOut.inputTokenCount)
    self.settings = settings
    trained =
      if let lora = settings.lora { ParameterTable(lora, configuration) } else { try ParameterTable(configuration) }
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

  private static func startModelHash(_ from: String) throws -> String {
    let directory = try resolveModelDirectory(from)
    let base = try ModelWeights(directory: directory).contentHash()
    guard PEFTAdapter.isAdapter(directory) else { return base }
    return base + "+" + (try PEFTAdapter(directory: directory).contentHash())
  }

  private static func otherStartModel(_ settings: TrainingSettings) -> TrainingError {
    TrainingError(
      "\(settings.from ?? "") is not the model that the run was begun with (its weights differ). "
        + "Give that model's path by --from, or begin a new run.")
  }

  private static func manifestHash(_ data: String) throws -> String {
    // Says in its own words what is wrong with a directory that holds no data.
    _ = try DataManifest(directory: data)
    return try MappedFile.contents(of: data + "/manifest.json").withUnsafeBytes { SHA256.hexadecimalDigest($0) }
  }

  /// The configuration for `--model`: a file's as it is; a named model's fitted to the data's tokenizer and sequences.
  private static func newModel(_ settings: TrainingSettings, _ manifest: DataManifest) throws -> ModelConfiguration {
    let name = settings.model ?? ""
    if name.hasSuffix(".json") { return try ModelConfiguration(huggingFaceConfig: name) }
    var configuration = try ModelConfiguration.named(name)
    let tokenizer = try Tokenizer(directory: settings.data)
    configuration.vocabularySize = manifest.vocabularySize
    configuration.beginTokenID = Int(tokenizer.beginToken)
    configuration.endTokenIDs = [Int(tokenizer.endToken)]
    configuration.maximumSequenceLength = max(configuration.maximumSequenceLength, settings.sequenceLength ?? 0)
    return configuration
  }

  /// Packs the whole run without reading a token, since the schedule needs to know where the end is.
  private static func stepCount(_ settings: TrainingSettings, _ dataset: TokenShardDataset) throws -> Int {
    if let steps = settings.steps { return steps }
    var documents = try BatchSequence(
      dataset.training, sequenceLength: settings.sequenceLength!,
      documentsPerSample: dataset.manifest.kind.documentsPerSample,
      shuffleSeed: UInt64(truncatingIfNeeded: settings.seed))
    var steps = 0
    while !settings.isEnd(documents.position, of: dataset.training) {
      var tokens = 0
      repeat {
        tokens += documents.skip(maximumTokens: settings.microBatchTokens!)
      } while !settings.isStepComplete(tokens: tokens, position: documents.position, of: dataset.training)
      steps += 1
    }
    return steps
  }

  // MARK: - What the loop asks

  var sequenceLength: Int { settings.sequenceLength! }
  var microBatchTokens: Int { settings.microBatchTokens! }
  var evalInterval: Int { settings.evalInterval! }
  var checkpointInterval: Int { settings.checkpointInterval! }

  var schedule: LearningRateSchedule {
    LearningRateSchedule(
      shape: settings.schedule, peak: settings.learningRate, warmupSteps: settings.warmupSteps!, totalSteps: totalSteps)
  }

  func isStepComplete(tokens: Int, position: BatchPosition) -> Bool {
    settings.isStepComplete(tokens: tokens, position: position, of: dataset.training)
  }

  func makeModel() throws -> TrainedModel {
    let seed = UInt64(truncatingIfNeeded: settings.seed)
    switch source {
    case .random: return .whole(try Parameters(configuration: configuration, seed: seed))
    case .directory(let directory): return .whole(try Parameters(modelDirectory: directory))
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
      return .adapter(
        adapter,
        on: try FrozenWeights(stored.configuration, stored.table, type: settings.precision, read: stored.read))
    }
  }

  /// Values that the optimizer changes.
  package var trainedParameterCount: Int {
    settings.lora?.parameterCount(configuration) ?? configuration.parameterCount
  }

  /// The weights that the run began with, whatever its checkpoints have become.
  ///
  /// - Throws: also `TrainingError` when that model is no longer what it was.
  func makeStartParameters() throws -> Parameters {
    guard let from = settings.from, try Self.startModelHash(from) == startModelHash else {
      throw Self.otherStartModel(settings)
    }
    return try Parameters(modelDirectory: try resolveModelDirectory(from))
  }

  var title: String { "minimind \(stage.name): \(settings.model ?? settings.from ?? "") on \(settings.data)" }

  package func record(programVersion: String) -> RunRecord {
    RunRecord(
      stage: stage.name, options: settings, totalSteps: totalSteps, parameterCount: configuration.parameterCount,
      startModelHash: startModelHash, dataManifestHash: dataManifestHash, tokenizerHash: tokenizer.contentHash,
      programVersion: programVersion)
  }

  // MARK: - Memory and disk

  /// What the program and its libraries take, but for the products: measured.
  private static let programBytes = 38 << 20

  /// Bytes that the run will hold in the first of so many processes: pass, weights, optimizer, and the tokens that are
  /// mapped.
  package func memoryBytes(processes: Int = 1) -> Int {
    let optimizerBytes = OptimizerState.byteCount(
      trained, settings.optimizer, precision: settings.precision, workers: settings.threads, ranks: processes)
    let passBytes = TrainingPass.memoryBytes(
      configuration, precision: settings.precision, maximumTokens: microBatchTokens, workers: settings.threads,
      recomputes: settings.recomputeActivations, lora: settings.lora)
    let codeBytes = Self.programBytes + MatrixProducts.codeBytes
    return passBytes + trainedParameterCount * 4 + optimizerBytes + dataset.training.tokenCount * 2 + codeBytes
  }

  /// - Parameters:
  ///   - samplingBytes: what `--sample-prompt` takes besides.
  ///   - localProcesses: how many of the run's processes share this machine's memory.
  /// - Throws: `TrainingError` when the machine has less memory left than the run needs.
  package func checkMemory(
    samplingBytes: Int = 0, processes: Int = 1, localProcesses: Int = 1,
    availableBytes: Int? = MachineMemory.availableBytes
  ) throws(TrainingError) {
    let neededBytes = memoryBytes(processes: processes) * localProcesses + samplingBytes
    guard let availableBytes, neededBytes > availableBytes else { return }
    throw TrainingError(
      "this run needs about \(neededBytes >> 20) MiB of memory and \(availableBytes >> 20) MiB are available. "
        + "Lower --micro-batch-tokens (\(microBatchTokens)) or choose a smaller model.")
  }

  /// - Parameters:
  ///   - output: the run's directory, which may not exist yet.
  ///   - checkpointCount: how many are there already.
  /// - Throws: `TrainingError` when the disk has not even room for the checkpoints that are kept and the one that is
  ///   written before the oldest goes.
  package func checkDisk(_ output: String, checkpointCount: Int = 0) throws(TrainingError) {
    let saves = (totalSteps + checkpointInterval - 1) / checkpointInterval
    let count = min(settings.keepCheckpoints + 1, saves) - checkpointCount
    var directory = output
    while !FileManager.default.fileExists(atPath: directory), parentDirectory(of: directory) != directory {
      directory = parentDirectory(of: directory)
    }
    let neededBytes = Checkpoint.byteCount(parameterCount: trained.totalCount, checkpoints: count)
    guard count > 0, let availableBytes = availableDiskBytes(at: directory), neededBytes > availableBytes else {
      return
    }
    throw TrainingError(
      "the checkpoints of this run need about \(neededBytes >> 20) MiB and the disk of \(output) has "
        + "\(availableBytes >> 20) MiB left. Free some space, or lower --keep-checkpoints (\(settings.keepCheckpoints))."
    )
  }
}

extension TrainingSettings {
  /// Fills in an adapter's settings where they were left out.
  fileprivate mutating func chooseAdapter(for configuration: ModelConfiguration) throws(TrainingError) {
    guard lora != nil else { return }
    loraAlpha = loraAlpha ?? Self.defaultLoRAAlpha
    loraDropout = loraDropout ?? Self.defaultLoRADropout
    let possible = LoRATarget.allCases.filter { $0.exists(in: configuration) }
    loraTargets = loraTargets ?? possible
    for target in loraTargets! where !possible.contains(target) {
      throw TrainingError(
        "--lora-targets \(target.rawValue): in a mixture of experts that means the routed experts, which cannot have "
          + "adapters. Name layers of attention: --lora-targets \(possible.map(\.rawValue).joined(separator: " "))")
    }
  }

  /// Fills in the length of the run and the batch sizes where they were left out.
  ///
  /// The batch is the largest power of two from 2048 to 16384 tokens that still gives the run 500 steps: few data are
  /// better spent on more and smaller steps.
  fileprivate mutating func chooseBatch(_ stage: Stage, tokens: Int) {
    if epochs == nil && steps == nil { epochs = stage.defaultEpochs }
    if batchTokens == nil {
      let runTokens = tokens.multipliedReportingOverflow(by: epochs ?? stage.defaultEpochs).partialValue
      batchTokens = max(
        [16384, 8192, 4096].first { runTokens / $0 >= 500 } ?? 2048, microBatchTokens ?? 0, sequenceLength ?? 0)
    }
    microBatchTokens = microBatchTokens ?? defaultMicroBatch
  }

  fileprivate mutating func chooseIntervals(totalSteps: Int, heldOutTokens: Int) {
    warmupSteps = min(warmupSteps ?? totalSteps * 3 / 100, totalSteps)
    if evalInterval == nil {
      // Twenty times in a run, and every 250 steps in a long one, for whoever waits or loses power. But a token costs a
      // third of its training to evaluate, and evaluation should take no more than about a twentieth of the time.
      let tokens = evalTokens == 0 ? heldOutTokens : min(evalTokens, heldOutTokens)
      evalInterval = max(1, min(250, totalSteps / 20), min(totalSteps, tokens / batchTokens! * 20 / 3))
    }
    checkpointInterval = checkpointInterval ?? evalInterval
  }

  /// Whether a position is the end of the last epoch. A run of a given number of steps reads on.
  fileprivate func isEnd(_ position: BatchPosition, of split: TokenSplit) -> Bool {
    guard let epochs else { return false }
    return position.epoch == epochs - 1 && position.document == split.documentCount
  }

  /// Whether another micro-batch might exceed the batch, or nothing is left.
  fileprivate func isStepComplete(tokens: Int, position: BatchPosition, of split: TokenSplit) -> Bool {
    tokens + microBatchTokens! > batchTokens! || isEnd(position, of: split)
  }
}
