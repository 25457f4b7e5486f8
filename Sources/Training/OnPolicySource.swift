import Corpus
import Model
import Processes
import Storage

/// The source of a run whose model answers some of the questions itself, to learn what its teacher would have said there
/// (generalised knowledge distillation, Agarwal et al. 2023, arXiv 2306.13649, algorithm 1).
///
/// With a given probability, the last answer of each conversation of a step is replaced by one that the model as it is
/// writes. What precedes it, earlier answers too, is its prompt. A chunk of a long document in which no answer begins stays as
/// it is, in a micro-batch of such.
///
/// Nothing of an answer is kept on the disk: seed, weights and place in the data make the same answers again, to the bit.
package final class OnPolicySource: BatchSource {
  private var documents: ShardSource
  private let settings: ResolvedSettings
  private let engine: any TrainingEngine
  private let writing: AnswerWriting
  /// Of the step that is being read, where the model has written its answers.
  private var written: ArraySlice<Batch>?

  package let documentsPerSample = 1
  package var position: BatchPosition { documents.position }

  /// - Parameters:
  ///   - position: where the run goes on.
  ///   - engine: of the model that answers.
  /// - Throws: `CorpusError` when the position does not lie in the data.
  package init(
    _ plan: TrainingPlan, position: BatchPosition, writer: any RolloutWriter, engine: any TrainingEngine,
    exchange: ProcessExchange = ProcessExchange()
  ) throws {
    documents = try plan.shardSource(position: position)
    settings = plan.settings
    self.engine = engine
    writing = AnswerWriting(writer, exchange)
  }

  package func prepareStep() throws -> [Int] {
    let place = position
    var random = SplitMix64(
      seed: UInt64(truncatingIfNeeded: settings.seed) &* 0x9E37_79B9_7F4A_7C15
        &+ UInt64(place.epoch) &* 0xD1B5_4A32_D192_ED03 &+ UInt64(place.document) &* 0x8CB9_2BA7_2F3D_8DD7
        &+ UInt64(place.offset))
    let counts = documents.prepareStep()
    written = nil
    guard random.nextUniform() < settings.onPolicyShare else { return counts }
    let batches = try write(microBatches: counts.count, &random)
    written = batches[...]
    return batches.map(\.tokenCount)
  }

  package func next(into batch: inout Batch) {
    guard let next = written?.popFirst() else {
      documents.next(into: &batch)
      batch[.isWritten] = [Float](repeating: 0, count: batch.documentCount)
      return
    }
    batch = next
  }

  package func skip() { if written?.popFirst() == nil { documents.skip() } }

  // MARK: - Answers

  /// The step's documents, read to the end, with the model's answers.
  private func write(microBatches count: Int, _ random: inout SplitMix64) throws -> [Batch] {
    var read = Batch()
    var kept = BatchPacker(settings.microBatchTokens)
    var requests: [(number: Int, request: AnswerRequest)] = []
    for _ in 0..<count {
      documents.next(into: &read)
      for document in 0..<read.documentCount {
        let rows = read.rows(ofDocument: document)
        let number = read.documentNumbers[document]
        guard let first = Self.lastAnswer(read, rows) else {
          let tokens = read.tokens[rows] + [read.targets[rows.upperBound - 1]]
          kept.append(Array(tokens), number) { read.lossWeights[rows.lowerBound + $0 - 1] }
          continue
        }
        let prompt = Array(read.tokens[rows.lowerBound...first])
        // As many rows as a sequence has: the last token of an answer has none.
        let room = min(settings.answerTokens, settings.sequenceLength + 1 - prompt.count)
        requests.append(
          (
            number,
            AnswerRequest(
              prompt: prompt, maximumTokens: room, temperature: settings.temperature, topK: 0, topP: 1,
              seed: random.next())
          ))
      }
    }
    let asked = requests.map(\.request)
    let own = try writing.writeOwn(asked, with: engine)
    var answered = BatchPacker(settings.microBatchTokens)
    for ((number, request), (answer, _)) in zip(
      requests, writing.share(own, of: asked, numbers: own.map { _ in [] }, numberCount: 0))
    {
      answered.append(request.prompt + answer.tokens, number) { $0 < request.prompt.count ? 0 : 1 }
    }
    return kept.batches(isWritten: false) + answered.batches(isWritten: true)
  }

  /// The row that reads the last token before the last answer of a document; nil where none begins in it.
  private static func lastAnswer(_ batch: Batch, _ rows: Range<Int>) -> Int? {
    guard var first = rows.last(where: { batch.lossWeights[$0] != 0 }) else { return nil }
    while first > rows.lowerBound, batch.lossWeights[first - 1] != 0 { first -= 1 }
    return first > rows.lowerBound ? first : nil
  }
}

/// Packs documents into batches, in their order.
private struct BatchPacker {
  private let maximumTokens: Int
  private var packed: [Batch] = []
  private var batch = Batch()

  init(_ maximumTokens: Int) { self.maximumTokens = maximumTokens }

  /// - Parameter lossWeight: of the token at an index, from 1.
  mutating func append(_ document: [Int32], _ number: Int, lossWeight: (_ index: Int) -> Float) {
    if batch.tokenCount + document.count - 1 > maximumTokens { close() }
    batch.append(count: document.count, number: number, token: { document[$0] }, lossWeight: lossWeight)
  }

  private mutating func close() {
    packed.append(batch)
    batch = Batch()
  }

  mutating func batches(isWritten: Bool) -> [Batch] {
    if batch.documentCount > 0 { close() }
    for index in packed.indices {
      packed[index][.isWritten] = [Float](repeating: isWritten ? 1 : 0, count: packed[index].documentCount)
    }
    return packed
  }
}

extension DocumentColumn {
  /// 1 where the model itself has written the answer, 0 where it is the data's.
  package static let isWritten = DocumentColumn("is written")
}

extension SettingList {
  package var onPolicy: OpenSetting<Double> {
    OpenSetting(
      "on-policy", kind: .number(0...1),
      help:
        "--teacher: the share of the steps in which the model writes the answers itself, to learn what the teacher would "
        + "have said there (GKD).",
      defaultText: { _ in "0" })
  }

  /// The options of a stage whose model can write answers for a teacher.
  var onPolicySettings: [SettingDescription] {
    [
      onPolicy.description, answerTokens.description.open(help: "--on-policy: most tokens of an answer."),
      temperature.description.open(help: "--on-policy: of the answers."),
      writingPrecision.description.with(help: "--on-policy: number type of the weights that write answers."),
    ]
  }
}

extension ResolvedSettings {
  /// The share of the steps whose answers the model writes itself.
  package var onPolicyShare: Double { recorded.onPolicy ?? 0 }
}

extension TrainingSettings {
  /// - Throws: `TrainingError` when options of answers are given where the model writes none.
  func validateOnPolicy(_ stage: Stage) throws(TrainingError) {
    guard stage.readsDocuments, self.onPolicy ?? 0 == 0 else { return }
    for (option, isGiven) in [
      ("--answer-tokens", self.answerTokens != nil), ("--temperature", self.temperature != nil),
      ("--writing-precision", self.writingPrecision != nil),
    ] where isGiven {
      throw TrainingError(
        "\(option) is of answers that the model writes itself. Give their share by --on-policy, or leave it out.")
    }
  }
}

extension Stage {
  /// Prepared documents, whose answers the model writes itself in some steps, if the run asks for that.
  @Sendable static func source(_ context: StageContext) throws -> any BatchSource {
    guard context.plan.settings.onPolicyShare > 0 else {
      return try context.plan.shardSource(position: context.position)
    }
    guard let writer = context.writer else { preconditionFailure("a run whose model answers without a writer") }
    return try OnPolicySource(
      context.plan, position: context.position, writer: writer, engine: context.engine, exchange: context.exchange)
  }
}
