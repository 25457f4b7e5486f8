import Foundation
import Generation
import Storage
import Synchronization
import Tokenization

/// A request to `/v1/embeddings`, decoded and checked.
package struct EmbeddingCall: Sendable {
  var inputs: [TextInput]
  /// Base64 of little-endian fp32 instead of a list of numbers.
  var isBase64: Bool

  package init(_ fields: RequestFields, _ reader: TextInputReader, hiddenSize: Int) throws(APIError) {
    try FieldTable.embedding.check(fields)
    let format = try fields.string("encoding_format") ?? "float"
    guard ["float", "base64"].contains(format) else {
      throw APIError.invalid("encoding_format", "'encoding_format' must be float or base64.")
    }
    isBase64 = format == "base64"
    if let dimensions = try fields.integer("dimensions", in: 1...Int.max), dimensions != hiddenSize {
      throw APIError.invalid(
        "dimensions",
        "'dimensions' is \(dimensions); this model's embeddings have \(hiddenSize) and cannot be shortened.")
    }
    let isCut = try fields.bool("truncate") ?? false
    inputs = try reader.read(fields, "input", specialTokens: .asText, longest: isCut ? Int.max : reader.contextLength)
    for index in inputs.indices where inputs[index].tokens.count > reader.contextLength {
      inputs[index].tokens.removeLast(inputs[index].tokens.count - reader.contextLength)
    }
  }

  /// One embedding as the client wants it.
  func json(_ vector: [Float], index: Int) -> JSON {
    let embedding: JSON
    if isBase64 {
      var bytes = Data(capacity: 4 * vector.count)
      for value in vector {
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
      }
      embedding = .string(bytes.base64EncodedString())
    } else {
      embedding = .array(vector.map { .number(Double($0)) })
    }
    return .object([
      .init("object", .string("embedding")), .init("index", .integer(index)), .init("embedding", embedding),
    ])
  }
}

/// The answer to one request for embeddings, sent when all of them are computed.
final class EmbeddingAnswer: Sendable {
  private struct State {
    var vectors: [JSON]
    var running: Int
    var isOver = false
  }

  private let call: EmbeddingCall
  private let write: @Sendable (_ data: [JSON], _ tokens: Int) -> JSON
  private let reply: Reply
  private let state: Mutex<State>

  init(
    _ call: EmbeddingCall, _ reply: Reply, _ write: @escaping @Sendable (_ data: [JSON], _ tokens: Int) -> JSON
  ) {
    self.call = call
    self.write = write
    self.reply = reply
    state = Mutex(State(vectors: Array(repeating: .null, count: call.inputs.count), running: call.inputs.count))
  }

  /// - Parameter vector: [hiddenSize]; nil if it was cancelled.
  func receive(_ vector: [Float]?, index: Int) {
    guard let vector else { return fail(.stopping) }
    let json = call.json(vector, index: index)
    state.withLock { state in
      guard !state.isOver else { return }
      state.vectors[index] = json
      state.running -= 1
      if state.running == 0 { finish(&state) }
    }
  }

  func fail(_ error: APIError) {
    state.withLock { state in
      guard !state.isOver else { return }
      state.isOver = true
      reply.fail(error)
    }
  }

  private func finish(_ state: inout State) {
    state.isOver = true
    let tokens = call.inputs.reduce(0) { $0 + $1.tokens.count }
    reply.send { [write, vectors = state.vectors] in write(vectors, tokens) }
  }
}
