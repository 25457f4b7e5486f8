import Foundation
import Processes
import Storage
import Tokenization

/// Turns files of text or conversations into a data directory: token shards, manifest, tokenizer.
///
/// Streams: memory does not grow with the input, except for the keys of rows when duplicates are looked for (`DigestSet`):
/// 12 bytes a distinct row, for near-duplicates 184, divided by the number of processes.
/// The result depends on the input and the settings only, not on the number of threads or processes.
package struct DataPreparation: Sendable {
  /// What the rows are, and which of them are kept.
  package enum Task: Sendable {
    case pretrain(PretrainFilters)
    case sft(ConversationFilters, ChatTemplate)
    case dpo(maximumTokens: Int, ChatTemplate)
    case kto(maximumTokens: Int, ChatTemplate)

    package var kind: DataManifest.Kind {
      switch self {
      case .pretrain: .pretrain
      case .sft: .sft
      case .dpo: .dpo
      case .kto: .kto
      }
    }

    fileprivate var findsNearDuplicates: Bool {
      if case .pretrain(let filters) = self { filters.nearDuplicates != nil } else { false }
    }

    /// The filters in force, by the names of their flags.
    var filters: [String: String] {
      switch self {
      case .pretrain(let filters): filters.texts
      case .sft(let filters, let template): filters.texts.merging(template.variableTexts) { $1 }
      case .dpo(let maximumTokens, let template), .kto(let maximumTokens, let template):
        ["max-tokens": String(maximumTokens)].merging(template.variableTexts) { $1 }
      }
    }
  }

  package var task: Task
  package var files: [InputFile]
  package var tokenizer: Tokenizer
  /// Leaves out rows that were there before, to the byte.
  package var dropsDuplicates = false
  /// The share of documents that training does not see.
  package var heldOutFraction = 0.02
  package var seed = 42
  /// A broken row is an error instead of being left out.
  package var isStrict = false
  package var threads = 1
  /// What the fields of rows are called.
  package var fieldNames = FieldNames()
  /// What becomes of pictures; nil for a model that does not see.
  package var pictures: PictureSettings?

  package init(task: Task, files: [InputFile], tokenizer: Tokenizer) {
    self.task = task
    self.files = files
    self.tokenizer = tokenizer
  }

  package var totalBytes: Int { files.reduce(0) { $0 + $1.byteCount } }

  /// Input bytes in work at a time; their tokens take up to twice as much again.
  private static let maximumBytesInWork = 1 << 26
  /// Lines about broken rows, and fields that nothing reads, that the manifest keeps.
  private static let mostMessages = 32
  /// With fewer documents than this none need be held out.
  private static let fewestToHoldOut = 20

  /// Prepares the data and puts them at `directory`, which appears whole or not at all.
  ///
  /// Several processes share the work, and the first one writes; all must call this with the same settings.
  ///
  /// - Parameters:
  ///   - isStopRequested: asked in each process; when one says yes, all stop.
  ///   - progress: called after each block in the first process, with the bytes read so far.
  ///   Where a pass over the input is repeated they begin at 0 again.
  ///   - pictureProgress: called while features are computed, with the pictures that are done and with all.
  /// - Returns: the manifest; nil in all processes except the first.
  /// - Throws: `FileError`; `CorpusError` when `directory` holds anything other than prepared data, when no row
  ///   can be used, or at the first broken row if the preparation is strict; `ProcessError` for what another process
  ///   has thrown; `PreparationStopped`.
  package func write(
    to directory: String, programVersion: String, exchange: ProcessExchange = ProcessExchange(),
    isStopRequested: @escaping @Sendable () -> Bool = { false }, progress: (_ bytesCompleted: Int) -> Void = { _ in },
    pictureProgress: (_ done: Int, _ total: Int) -> Void = { _, _ in }
  ) throws -> DataManifest? {
    if task.kind != .pretrain,
      let file = files.first(where: { $0.format == .text || $0.format.isWholeFile })
    {
      throw CorpusError(
        "\(file.path) is plain text, which holds no questions and answers. Give .jsonl, .json or .csv, with rows like "
          + (task.kind == .sft ? RowReader.goodConversationRow : RowReader.goodPreferenceRow))
    }
    if !exchange.isAlone, let file = files.first(where: { $0.pipe != nil }) {
      throw CorpusError("\(file.path) is a pipe, which several processes cannot read. Give a file.")
    }
    if pictures != nil, !exchange.isAlone {
      throw CorpusError("pictures are prepared by one process, which uses all cores. Start it without mpirun.")
    }
    try checkIsSame(exchange)
    func makeGroup() -> PreparationGroup {
      PreparationGroup(exchange, isStopRequested: isStopRequested)
    }
    var selection = HeldOutSelection(fraction: heldOutFraction, seed: seed)
    guard exchange.isFirst else {
      repeat {
        let group = makeGroup()
        _ = try group.merge(encodeAll(group, selection, nil) { _ in })
        selection.last = try group.announce(nil)
      } while selection.last != nil
      return nil
    }
    try checkReplaceable(directory)
    var manifest: DataManifest?
    try AtomicDirectory.write(directory) { temporary in
      var result: Pass
      repeat {
        let group = makeGroup()
        result = try encode(into: temporary, group, selection, progress: progress)
        selection.last = try group.announce(selection.last == nil ? digestToHoldOut(result) : nil)
        if selection.last != nil {
          for shard in result.training.shards {
            try? FileManager.default.removeItem(atPath: temporary + "/" + shard.file)
          }
        }
      } while selection.last != nil
      manifest = try finish(result, in: temporary, programVersion: programVersion) { store, settings, path in
        try store.write(to: path, settings, isStopRequested: isStopRequested, progress: pictureProgress)
      }
    }
    return manifest
  }

  /// What one pass over the input has made, in the first process.
  private struct Pass {
    var training: SplitWriter
    var heldOut: SplitWriter
    var counts: PreparationCounts
    /// Nil without pictures.
    var pictures: PictureStore?
  }

  /// Where chance has held out none of a few documents, another pass holds out the one with the smallest digest.
  private func digestToHoldOut(_ result: Pass) -> UInt64? {
    let samples = result.training.totals.documents / task.kind.documentsPerSample
    let isWanted =
      files.allSatisfy { $0.pipe == nil } && heldOutFraction > 0
      && result.heldOut.totals.documents == 0 && samples >= Self.fewestToHoldOut
    return isWanted ? result.counts.smallestDigest : nil
  }

  private func encode(
    into directory: String, _ group: PreparationGroup, _ selection: HeldOutSelection,
    progress: (Int) -> Void
  ) throws -> Pass {
    let store = try pictures.map { try PictureStore(directory: directory, side: $0.side) }
    var training = SplitWriter(
      directory: directory, isHeldOut: false, tokenizer: tokenizer, kind: task.kind, hasPictures: store != nil)
    var heldOut = SplitWriter(
      directory: directory, isHeldOut: true, tokenizer: tokenizer, kind: task.kind, hasPictures: store != nil)
    let ownCounts = try encodeAll(group, selection, store) { block in
      var (token, picture) = (0, 0)
      for document in block.documents {
        let tokens = token..<document.tokenEnd
        let seen = (store == nil ? [] : block.pictures[picture..<document.pictureEnd]).map {
          ShardPicture(token: $0.token, number: store!.finalNumber($0.number))
        }
        (token, picture) = (tokens.upperBound, document.pictureEnd)
        if document.isHeldOut {
          try heldOut.append(document, tokens, of: block, pictures: seen)
        } else {
          try training.append(document, tokens, of: block, pictures: seen)
        }
      }
      // A process that has ended sends empty blocks while others go on.
      if block.bytesCompleted > 0 { progress(block.bytesCompleted) }
    }
    return Pass(training: training, heldOut: heldOut, counts: try group.merge(ownCounts), pictures: store)
  }

  private func finish(
    _ result: Pass, in directory: String, programVersion: String,
    writePictures: (PictureStore, PictureSettings, _ path: String) throws -> (count: Int, digest: String)
  ) throws -> DataManifest {
    var (training, heldOut) = (result.training, result.heldOut)
    let counts = result.counts
    try counts.broken.checkFiles()
    var manifest = emptyManifest(programVersion: programVersion)
    manifest.rowsRead = counts.rowsRead
    manifest.rowsKept = counts.rowsKept
    manifest.rowsBroken = counts.broken.count
    manifest.brokenRows = Array(counts.broken.messages.prefix(Self.mostMessages))
    manifest.unusedFields = counts.unused.sorted.prefix(Self.mostMessages).map { name, entry in
      let first = entry.first
      return DataManifest.UnusedField(
        name: name, rows: entry.count, example: "\(first.file):\(first.line): \(first.text)")
    }
    manifest.rowsDropped = counts.dropped
    manifest.rowsChanged = counts.changed
    guard manifest.rowsKept > 0 else { throw nothingLeft(manifest) }

    try training.finish()
    try heldOut.finish()
    manifest.training = training.totals
    manifest.heldOut = heldOut.totals
    manifest.shards = training.shards + heldOut.shards
    if let pictures, let store = result.pictures {
      let (count, digest) = try writePictures(store, pictures, directory + "/" + PictureFile.name)
      manifest.pictures = DataManifest.Pictures(pictures, count: count, digest: digest)
    }
    if training.totals.documents == 0 { manifest.trainOnHeldOut() }
    try tokenizer.save(to: directory)
    try manifest.write(to: directory)
    return manifest
  }

  /// Encodes this process's share of the blocks and gives the first process all blocks in their order.
  ///
  /// - Parameters:
  ///   - store: where pictures go; nil without pictures.
  ///   - write: takes the documents of a block that are kept; called in the first process only.
  /// - Returns: the counts of this process's rows.
  private func encodeAll(
    _ group: PreparationGroup, _ selection: HeldOutSelection, _ store: PictureStore?,
    write: (EncodedBlock) throws -> Void
  ) throws -> PreparationCounts {
    let blocks = BlockReader(files, share: group.share)
    var counts = PreparationCounts()
    // The others wait for this process's next block, so an error in reading is sent in its place.
    var readingError: (any Error)?
    func commit(_ block: EncodedBlock?) throws -> Bool {
      let failure = block == nil ? readingError : nil
      guard let linesBefore = try group.beginRound(block, failure: failure, isStrict: isStrict) else { return false }
      var block = block ?? EncodedBlock()
      block.counts.place(inBlock: block.index, afterLines: linesBefore)
      try dropDuplicates(&block, group)
      counts.add(block.counts)
      try group.collect(block, write)
      return true
    }
    try OrderedPipeline.run(
      threads: threads, maximumWeight: Self.maximumBytesInWork,
      next: {
        do { return try blocks.next() } catch {
          readingError = error
          return nil
        }
      },
      weight: { $0.byteCount },
      makeTransform: {
        let encoder = makeEncoder(selection, store)
        return { EncodedBlock($0, with: encoder) }
      },
      commit: { _ = try commit($0) })
    while try commit(nil) {}
    return counts
  }

  /// Removes the rows that repeat an earlier one of any process's, and counts what is kept.
  private func dropDuplicates(_ block: inout EncodedBlock, _ group: PreparationGroup) throws {
    var isKept = [Bool](repeating: true, count: block.rows.count)
    if dropsDuplicates || task.findsNearDuplicates {
      var keys: [Digest] = []
      var band = 0
      for row in block.rows {
        if dropsDuplicates { keys.append(row.digest) }
        keys += block.bands[band..<row.bandEnd]
        band = row.bandEnd
      }
      let isNew = try group.areNew(keys)
      var key = 0
      band = 0
      for (index, row) in block.rows.enumerated() {
        let isEqual = dropsDuplicates && !isNew[key]
        if dropsDuplicates { key += 1 }
        let isNear = isNew[key..<key + row.bandEnd - band].contains(false)
        key += row.bandEnd - band
        band = row.bandEnd
        isKept[index] = !isEqual && !isNear
        if !isKept[index] { block.counts.drop(isEqual ? .duplicate : .nearDuplicate) }
      }
      block.keep(isKept)
    }
    block.counts.rowsKept += isKept.count { $0 }
  }

  private func makeEncoder(_ selection: HeldOutSelection, _ store: PictureStore?) -> any RowEncoder {
    var reader: (reader: PictureReader, placeholder: [Int32])?
    if let pictures, let store { reader = (PictureReader(pictures, store), pictures.placeholder) }
    func preferences(_ maximumTokens: Int, _ template: ChatTemplate, _ rows: PreferenceEncoder.Rows)
      -> PreferenceEncoder
    {
      var template = template
      template.pictureTokens = reader?.placeholder ?? []
      return PreferenceEncoder(
        tokenizer: tokenizer, template: template, maximumTokens: maximumTokens, rows: rows, heldOut: selection,
        pictures: reader?.reader)
    }
    switch task {
    case .pretrain(let filters):
      return PretrainEncoder(
        tokenizer: tokenizer, filters: filters, heldOut: selection, names: fieldNames, pictures: reader)
    case .sft(let filters, var template):
      template.pictureTokens = reader?.placeholder ?? []
      return ConversationEncoder(
        tokenizer: tokenizer, template: template, filters: filters, heldOut: selection, names: fieldNames,
        pictures: reader?.reader)
    case .dpo(let maximumTokens, let template):
      return preferences(maximumTokens, template, .pairs)
    case .kto(let maximumTokens, let template):
      return preferences(maximumTokens, template, .labelled)
    }
  }
}

extension ChatTemplate {
  /// By the name of the flag, for the manifest.
  fileprivate var variableTexts: [String: String] {
    variables.isEmpty ? [:] : ["chat-template-kwargs": JSON.object(variables).compactText]
  }
}

/// Refuses to replace a directory that holds anything but prepared data.
///
/// - Throws: `CorpusError` for a file, or a directory with other files in it.
func checkReplaceable(_ directory: String) throws {
  var status = stat()
  guard lstat(directory, &status) == 0 else { return }
  guard status.st_mode & S_IFMT == S_IFDIR else {
    throw CorpusError("cannot write to \(directory): a file is in the way. Choose another output directory.")
  }
  let names = try FileManager.default.contentsOfDirectory(atPath: directory)
  let isOurs = names.allSatisfy { name in
    name == DataManifest.fileName || name.hasSuffix(TokenShard.fileSuffix) || Tokenizer.isFile(name)
      || name.hasSuffix(TaskDocuments.fileSuffix) || name.hasSuffix(PictureFile.fileSuffix)
  }
  guard names.isEmpty || isOurs && names.contains(DataManifest.fileName) else {
    throw CorpusError(
      "\(directory) holds other files than prepared data and is left as it is. Choose another output directory.")
  }
}
