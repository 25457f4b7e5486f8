import Storage
import Tokenization

/// Which conversations are kept for fine-tuning, and what of them is trained on.
package struct ConversationFilters: Sendable, Equatable {
  /// Characters of a conversation's last question and last answer.
  package var questionCharacters = 1...Int.max
  package var answerCharacters = 1...Int.max
  /// The last question and answer must each have more than this share of CJK characters; nil for any.
  package var minimumCJKShare: Double?
  /// Only conversations of at least two turns.
  package var isMultiTurnOnly = false
  /// Trains on the last answer only, as v1 does, instead of on every answer.
  package var trainsLastTurnOnly = false
  /// The share of conversations without system message and tools that get one of `SystemPrompts`.
  package var systemPromptShare = 0.0
  /// The share of conversations of which empty thoughts, as templates write them, are left out.
  package var emptyThinkingRemovalShare = 0.0
  /// Most tokens of a conversation; a longer one loses its oldest turns, then the end of its answer.
  package var maximumTokens = 512

  package init() {}

  /// MiniMind v1's, made for its Chinese data.
  package static var v1: ConversationFilters {
    var filters = ConversationFilters()
    filters.questionCharacters = 10...256
    filters.answerCharacters = 5...256
    filters.minimumCJKShare = 0.9
    return filters
  }

  /// By the names of the flags, for the manifest.
  var texts: [String: String] {
    var texts = ["max-tokens": String(maximumTokens)]
    for (name, range) in [("question", questionCharacters), ("answer", answerCharacters)] {
      if range.lowerBound > 1 { texts["min-" + name] = String(range.lowerBound) }
      if range.upperBound < Int.max { texts["max-" + name] = String(range.upperBound) }
    }
    if let minimumCJKShare { texts["min-cjk-share"] = String(minimumCJKShare) }
    if isMultiTurnOnly { texts["multi-turn-only"] = "true" }
    if trainsLastTurnOnly { texts["last-turn-only"] = "true" }
    if systemPromptShare > 0 { texts["system-prompt-share"] = String(systemPromptShare) }
    if emptyThinkingRemovalShare > 0 { texts["drop-empty-thinking-share"] = String(emptyThinkingRemovalShare) }
    return texts
  }

  /// Why `messages` are left out, by what is known before they are encoded.
  func reasonToDrop(_ messages: [ChatMessage]) -> DropReason? {
    guard messages.allSatisfy({ !$0.isEmptyTurn }) else { return .emptyTurn }
    let questions = messages.filter { $0.role == .user }
    if isMultiTurnOnly && questions.count < 2 { return .singleTurn }
    let question = questions.last?.content ?? ""
    guard let last = messages.last, !last.callsTools else { return nil }
    let answer = last.content
    let questionCount = characterCount(question)
    if questionCount < questionCharacters.lowerBound { return .questionTooShort }
    if questionCount > questionCharacters.upperBound { return .questionTooLong }
    let answerCount = characterCount(answer)
    if answerCount < answerCharacters.lowerBound { return .answerTooShort }
    if answerCount > answerCharacters.upperBound { return .answerTooLong }
    if let minimumCJKShare, cjkShare(question) <= minimumCJKShare || cjkShare(answer) <= minimumCJKShare {
      return .tooLittleCJK
    }
    return nil
  }
}

/// Encodes conversations by the chat template, whose parts say which tokens the model is to learn.
final class ConversationEncoder: RowEncoder {
  private let tokenizer: Tokenizer
  private let template: ChatTemplate
  private let filters: ConversationFilters
  private let heldOut: HeldOutSelection
  private let pictures: PictureReader?
  let reader: RowReader

  /// - Parameter pictures: nil where pictures of rows are not used.
  init(
    tokenizer: Tokenizer, template: ChatTemplate, filters: ConversationFilters, heldOut: HeldOutSelection,
    names: FieldNames, pictures: PictureReader? = nil
  ) {
    reader = RowReader(names: names, template: template.jinja, keepsPictures: pictures != nil)
    self.pictures = pictures
    self.tokenizer = tokenizer
    self.template = template
    self.filters = filters
    self.heldOut = heldOut
  }

  func encode(_ record: Record, of block: Block, into output: inout EncodedBlock) throws(RowProblem) -> DropReason? {
    var conversation = try reader.conversation(of: record, in: block)
    guard !conversation.hasToolTurns else { return .toolTurns }
    if filters.trainsLastTurnOnly {
      for index in conversation.isTrained.indices.dropLast() { conversation.isTrained[index] = false }
    }
    conversation.endWithLastTrained()
    guard !conversation.messages.isEmpty else { return .noTrainedAnswer }
    if let reason = filters.reasonToDrop(conversation.messages) { return reason }
    var seen: [PictureStore.Entry] = []
    for source in conversation.pictures {
      if let entry = try pictures?.add(source, file: block.file.path) { seen.append(entry) }
    }
    let digest = heldOut.digest(of: conversation.messages, tools: conversation.tools, pictures: seen.map(\.digest))
    var random = SplitMix64(seed: digest.low)
    let getsSystem = random.nextUniform() < filters.systemPromptShare
    if getsSystem, conversation.tools.isEmpty, !conversation.hasOwnSystem {
      conversation.insertSystem(SystemPrompts.all[random.next(below: SystemPrompts.all.count)])
      conversation.gotSystem = true
    }
    guard template.jinja == nil else {
      let dropsThinking = random.nextUniform() < filters.emptyThinkingRemovalShare
      return try encodeRendered(conversation, seen, digest, dropsEmptyThinking: dropsThinking, into: &output)
    }
    let messages = conversation.messages
    var parts = try template.answeredParts(of: messages, with: tokenizer)
    var count = parts.reduce(0) { $0 + $1.ids.count }
    let wholeCount = count
    if count > filters.maximumTokens { count = removeOldestTurns(&parts, of: messages, count) }
    let promptCount = count - (parts.last?.ids.count ?? 0)
    guard promptCount < filters.maximumTokens else { return .promptTooLong }
    output.count(
      conversation, lostTurns: count < wholeCount, isCut: count > filters.maximumTokens)
    let isHeldOut = output.isHeldOut(digest, by: heldOut)
    output.append(
      parts, of: messages, limit: filters.maximumTokens, isHeldOut: isHeldOut, tokenizer: tokenizer, pictures: seen
    ) { conversation.isTrained[$0] }
    output.appendRow(digest)
    return nil
  }

  /// Encodes a conversation by a template in Jinja.
  private func encodeRendered(
    _ conversation: RowConversation, _ seen: [PictureStore.Entry], _ digest: Digest, dropsEmptyThinking: Bool,
    into output: inout EncodedBlock
  ) throws(RowProblem) -> DropReason? {
    let finder = AnswerFinder(
      template: template, tokenizer: tokenizer, tools: conversation.tools, dropsEmptyThinking: dropsEmptyThinking)
    let found: AnswerFinder.Documents
    do {
      found = try finder.documents(
        conversation.messages, isTrained: conversation.isTrained, maximumTokens: filters.maximumTokens)
    } catch { throw RowProblem("\(error)") }
    func count(_ parts: some Sequence<TemplatePart>) -> Int { parts.reduce(0) { $0 + $1.ids.count } }
    // Each document ends with an answer, which may be cut; its prompt may not.
    let documents = found.documents.filter { count($0.dropLast()) < filters.maximumTokens }
    guard !documents.isEmpty else { return .promptTooLong }
    output.count(
      conversation, lostTurns: found.removedTurns > 0,
      isCut: documents.contains { count($0) > filters.maximumTokens })
    if documents.count < found.documents.count { output.counts.change(.answersLeftOut) }
    if documents.count > 1 { output.counts.change(.answersApart) }
    if found.droppedEmptyThinking { output.counts.change(.emptyThinkingRemoved) }
    let isHeldOut = output.isHeldOut(digest, by: heldOut)
    for parts in documents {
      output.append(
        parts, of: nil, limit: filters.maximumTokens, isHeldOut: isHeldOut, tokenizer: tokenizer, pictures: seen
      ) { _ in true }
    }
    output.appendRow(digest)
    return nil
  }

  /// Removes whole turns from the front, never the system message nor the last turn, until the rest fits.
  ///
  /// - Returns: the tokens left.
  /// - Complexity: grows with the parts, not with their square: a conversation may have a hundred thousand turns.
  private func removeOldestTurns(_ parts: inout [TemplatePart], of messages: [ChatMessage], _ count: Int) -> Int {
    var tokens = [Int](repeating: 0, count: messages.count)
    for part in parts { tokens[part.messageIndex] += part.ids.count }
    let lastQuestion = messages.count - 2
    let start = messages.first?.role == .system ? 1 : 0
    var first = start
    var count = count
    while count > filters.maximumTokens && first < lastQuestion {
      count -= tokens[first] + tokens[first + 1]
      first += 2
    }
    parts.removeAll { (start..<first).contains($0.messageIndex) }
    return count
  }
}

extension ChatMessage {
  /// Whether the message says nothing, where that is wrong: a call may come without words, and a tool may return nothing.
  var isEmptyTurn: Bool {
    !role.isInstruction && role != .tool && !callsTools && content.utf8.allSatisfy { $0 <= 0x20 }
  }
}

extension ChatTemplate {
  /// A conversation up to its last answer: what follows that is context for nothing.
  func answeredParts(of messages: [ChatMessage], with tokenizer: Tokenizer) throws(RowProblem) -> [TemplatePart] {
    var parts: [TemplatePart]
    do { parts = try encode(messages, with: tokenizer, addGenerationPrompt: false) } catch {
      throw RowProblem(error.description)
    }
    while let last = parts.last, !last.isAnswer { parts.removeLast() }
    return parts
  }
}

extension HeldOutSelection {
  /// The digest of the roles and texts, each with its length, so that no two conversations give the same bytes.
  ///
  /// - Parameter pictures: the digests of those that the messages hold.
  func digest(of messages: [ChatMessage], tools: [JSON] = [], pictures: [[UInt8]] = []) -> Digest {
    digest { hash in
      for picture in pictures { picture.withUnsafeBytes { hash.update($0) } }
      for message in messages {
        if message.reasoning != nil || !message.fields.isEmpty {
          var json = "json " + message.json.compactText
          json.withUTF8 { hash.update(UnsafeRawBufferPointer($0)) }
          continue
        }
        var content = message.role.rawValue + " \(message.content.utf8.count) " + message.content
        content.withUTF8 { hash.update(UnsafeRawBufferPointer($0)) }
      }
      if !tools.isEmpty {
        var json = "tools " + JSON.array(tools).compactText
        json.withUTF8 { hash.update(UnsafeRawBufferPointer($0)) }
      }
    }
  }
}

extension EncodedBlock {
  /// Counts what was done to a conversation to make it fit.
  fileprivate mutating func count(_ conversation: RowConversation, lostTurns: Bool, isCut: Bool) {
    if lostTurns { counts.change(.oldTurnsRemoved) }
    if isCut { counts.change(.answerCut) }
    if conversation.lostOpeningAnswer { counts.change(.openingAnswerRemoved) }
    if conversation.gotSystem { counts.change(.systemAdded) }
  }

  /// Appends the first `limit` tokens of `parts` as one document; only the last part may be cut.
  ///
  /// - Parameters:
  ///   - messages: what whole answers are the texts of; nil where a template writes more of an answer than its text.
  ///   - isDesirable: its label.
  ///   - seen: the pictures of the conversation, by their marks.
  ///   - isTrained: whether the answer of this number is trained on.
  mutating func append(
    _ parts: [TemplatePart], of messages: [ChatMessage]?, limit: Int, isHeldOut: Bool, isDesirable: Bool = false,
    tokenizer: Tokenizer, pictures seen: [PictureStore.Entry] = [], isTrained: (_ message: Int) -> Bool
  ) {
    let start = tokens.count
    var textBytes = 0
    var characters = 0
    for part in parts {
      let ids = part.ids.prefix(start + limit - tokens.count)
      for picture in part.pictures where picture.number < seen.count {
        pictures.append(
          Picture(token: tokens.count - start + picture.token, number: seen[picture.number].number))
      }
      let isTrained = part.isAnswer && isTrained(part.messageIndex)
      tokens.append(contentsOf: ids)
      trained.append(contentsOf: repeatElement(isTrained ? 1 : 0, count: ids.count))
      if isTrained, ids.count == part.ids.count, let messages {
        textBytes += messages[part.messageIndex].content.utf8.count
        characters += characterCount(messages[part.messageIndex].content)
      } else if isTrained {
        // An end token is no text; of an answer that was cut there is none.
        textBytes += ids.reduce(0) { $0 + (tokenizer.isSpecial($1) ? 0 : tokenizer.bytes(of: $1).count) }
        characters += characterCount(tokenizer.decode(ids, skippingSpecialTokens: true))
      }
    }
    documents.append(
      Document(
        tokenEnd: tokens.count, textBytes: textBytes, characters: characters, isHeldOut: isHeldOut,
        isDesirable: isDesirable, pictureEnd: pictures.count))
  }
}
