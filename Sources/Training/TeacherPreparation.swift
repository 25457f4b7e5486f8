import Corpus
import Foundation
import Model
import ModelFiles
import Storage

/// Asks a teacher for the likeliest tokens after every token of prepared data that is trained on, and keeps its answers beside a
/// second name of the data: what trains on them needs no teacher in memory.
package struct TeacherPreparation {
  package let dataset: TokenShardDataset
  package let teacher: TeacherModel
  /// What the manifest is to say.
  package let stored: DataManifest.Teacher
  private let engines: any TrainingEngineProvider
  private let precision: ElementType

  /// - Parameters:
  ///   - path: of the teacher: a run, a checkpoint or a model directory.
  ///   - data: prepared documents or conversations.
  ///   - top: how many of the likeliest tokens are kept.
  ///   - temperature: at which the teacher is asked, and learned from.
  ///   - sequenceLength: the most tokens that it reads at once; nil for what is usual.
  /// - Throws: `TrainingError` for data or a teacher that do not go together, or that nothing can be learned from in this way.
  package init(
    teacher path: String, data: String, top: Int, temperature: Double, sequenceLength: Int?,
    precision: ElementType, engines: any TrainingEngineProvider
  ) throws {
    let manifest = try DataManifest(directory: data)
    guard manifest.kind == .pretrain || manifest.kind == .sft else {
      throw TrainingError(
        "\(data) was prepared for \(manifest.kind.rawValue), which learns from no teacher. Give data of data pretrain or "
          + "data sft.")
    }
    guard manifest.teacher == nil else {
      throw TrainingError("\(data) holds what a teacher said already. Give the data that it was made from.")
    }
    guard manifest.pictures == nil else {
      throw TrainingError(
        "\(data) has pictures, and a model that sees does not learn from a teacher. Give data without.")
    }
    dataset = try TokenShardDataset(directory: data)
    teacher = try TeacherModel(
      path, student: nil, tokenizerHash: manifest.tokenizerHash, sequenceLength: sequenceLength)
    let vocabulary = teacher.configuration.vocabularySize
    guard top < vocabulary else {
      throw TrainingError("--top \(top) leaves out none of the teacher's \(vocabulary) tokens. Lower it.")
    }
    stored = DataManifest.Teacher(
      model: teacher.contentHash, data: try TrainingPlan.manifestHash(data), vocabularySize: vocabulary, top: top,
      temperature: temperature, sequenceLength: teacher.sequenceLength)
    self.engines = engines
    self.precision = precision
  }

  /// The most tokens of a batch: the logits of all of its rows are in memory at once.
  private var batchTokens: Int {
    max(stored.sequenceLength, min(ResolvedSettings.usualMicroBatch, (1 << 26) / stored.vocabularySize))
  }

  /// Bytes that asking takes, mapped files aside.
  package func memoryBytes() throws -> Int {
    try engines.memoryBytes(teacher.configuration, lora: nil, engineSettings)
      + 4 * batchTokens * stored.vocabularySize + TrainingPlan.programBytes
  }

  private var engineSettings: EngineSettings {
    EngineSettings(
      precision: precision, maximumTokens: batchTokens, longestDocument: stored.sequenceLength, optimizer: nil)
  }

  /// Writes the data with what the teacher says. An interruption leaves nothing.
  ///
  /// - Parameters:
  ///   - output: the directory, which is replaced.
  ///   - progress: gets the tokens that have been read, after each batch; stops it by giving false.
  /// - Returns: nil when it was stopped.
  /// - Throws: `FileError`; `TrainingError` when the teacher's numbers are none.
  package func write(to output: String, progress: (_ tokens: Int) throws -> Bool) throws -> DataManifest? {
    let engine = try engines.makeEngine(.whole(try teacher.parameters()), engineSettings)
    guard let engine = engine as? any TeachingEngine else {
      preconditionFailure("an engine that does not tell what its model finds likeliest")
    }
    var manifest = dataset.manifest
    manifest.add(stored)
    var tokens = 0
    do {
      try AtomicDirectory.write(output) { directory in
        try linkOrCopy(contentsOf: dataset.directory, to: directory)
        for (place, shard) in dataset.training.shards.enumerated() {
          let writer = try TeacherFileWriter(shard, top: stored.top, directory: directory)
          var batch = Batch()
          _ = try dataset.training.part(shard: place).forEachBatch(
            sequenceLength: stored.sequenceLength, batchTokens: batchTokens, using: &batch
          ) { batch in
            let said = engine.largestProbabilities(batch, count: stored.top, temperature: stored.temperature)
            guard said.logarithms.allSatisfy(\.isFinite) else {
              throw TrainingError(
                "--teacher \(teacher.path) gives a probability that is not a finite number. Choose another, or try "
                  + "--precision fp32.")
            }
            try writer.append(said)
            tokens += batch.tokenCount
            guard try progress(tokens) else { throw Stopped() }
          }
          try writer.finish()
        }
        try manifest.write(to: directory)
      }
    } catch is Stopped { return nil }
    return manifest
  }
}
