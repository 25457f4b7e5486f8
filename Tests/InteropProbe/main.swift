import Compute
import Foundation
import ModelFiles
import Storage
import Transformer

/// For the tests in Tests/Interop: a model's logits, and models of random weights, as files that Python reads.
///
///     interop-probe logits MODEL DOCUMENTS.json OUTPUT.safetensors
///     interop-probe create CONFIG.json SEED float32|bfloat16 TOKENIZER OUTPUT
///
/// DOCUMENTS.json holds arrays of token ids, which are packed into one batch; the output has one tensor `logits`,
/// [tokens, vocabulary]. `create` writes a model directory of the configuration with random weights.
func run(_ arguments: [String]) throws {
  switch (arguments.first, arguments.count) {
  case ("logits", 4): try writeLogits(model: arguments[1], documents: arguments[2], output: arguments[3])
  case ("create", 6):
    guard let seed = UInt64(arguments[2]) else { throw ProbeError(description: "\(arguments[2]) is no seed") }
    try Parameters(configuration: ModelConfiguration(huggingFaceConfig: arguments[1]), seed: seed).save(
      modelDirectory: arguments[5], type: arguments[3] == "bfloat16" ? .bfloat16 : .float32,
      tokenizerDirectory: arguments[4])
  default: throw ProbeError(description: "usage: see Tests/InteropProbe/main.swift")
  }
}

struct ProbeError: Error, CustomStringConvertible { let description: String }

func writeLogits(model: String, documents path: String, output: String) throws {
  let parameters = try Parameters(modelDirectory: try resolveModelDirectory(model))
  var tokens: [Int32] = []
  var offsets: [Int32] = [0]
  for document in try JSON(contentsOf: path).arrayValue ?? [] {
    tokens += try (document.arrayValue ?? []).map { id in
      guard let id = id.integerValue, (0..<parameters.configuration.vocabularySize).contains(id) else {
        throw ProbeError(description: "\(path): \(id.compactText) is no token of the model")
      }
      return Int32(id)
    }
    offsets.append(Int32(tokens.count))
  }
  let pass = try TrainingPass(
    parameters, precision: .float32, maximumTokens: tokens.count, team: WorkerTeam(count: 2), trains: false)
  let logits = pass.logits(tokens: tokens, documentOffsets: offsets)
  let writer = try SafetensorsWriter(
    output,
    tensors: [.init(name: "logits", type: .float32, shape: [tokens.count, parameters.configuration.vocabularySize])])
  try logits.withUnsafeBufferPointer { try writer.append($0) }
  try writer.commit()
}

do {
  try run(Array(CommandLine.arguments.dropFirst()))
} catch {
  FileHandle.standardError.write(Data("interop-probe: \(error)\n".utf8))
  exit(1)
}
