import Foundation
import Model
import ModelFiles
import Storage
import Tokenization

/// `minimind merge`: an adapter and its base become a model of their own.
let mergeCommand: Command = {
  let adapter = Option.required(
    "adapter", "ADAPTER",
    help: "A run of minimind lora, a checkpoint of it, a directory in PEFT's format, or a lora .pth of MiniMind.")
  let from = Option.optional(
    "from", "BASE",
    help: "The model that the adapter was trained on, if it has moved from the path that the adapter names.")
  let to = Option.required("to", "DIR", help: "The directory of the new model, which must not exist.")
  return Command(
    "merge", summary: "merges an adapter into the model that it was trained on", options: [adapter, from, to],
    example: "minimind merge --adapter my-adapter --to my-merged-chat"
  ) { invocation in
    let output = invocation[to]
    guard !FileManager.default.fileExists(atPath: output) else {
      throw CommandError("\(output) exists already. Choose another --to, which will be created.")
    }
    let (files, base) = try read(invocation[adapter], base: invocation[from])
    let directory = files.directory
    let weights = try ModelWeights(modelDirectory: base, adapter: files)
    let parameters = try Parameters(ModelConfiguration(modelDirectory: base), weights)
    try parameters.save(
      modelDirectory: output, tokenizerDirectory: try TokenizerFiles.firstPath(of: [directory, base]),
      keepingSettingsOf: base, metadata: weights.mergedMetadata())
    try Console.standardOutput.print(
      "merged \(files.modules.count) adapted layers of \(directory) into \(base): \(output)")
  }
}()

/// The adapter at a path, and the directory of the model that it is for.
private func read(_ path: String, base: String?) throws -> (PEFTAdapter, base: String) {
  func model(_ path: String) throws -> String {
    let directory = try resolveModelDirectory(path)
    guard !PEFTAdapter.isAdapter(directory) else {
      throw CommandError("\(directory) is itself an adapter. Merge that one first, then give the result by --from.")
    }
    return directory
  }
  if path.hasSuffix(".pth") {
    guard let base else { throw UsageError("\(path) does not name the model that it is for: give it by --from.") }
    let directory = try model(base)
    return (
      try PEFTAdapter(miniMindLoRA: path, base: ModelConfiguration(modelDirectory: directory)), directory
    )
  }
  let directory = try resolveModelDirectory(path)
  guard PEFTAdapter.isAdapter(directory) else {
    throw CommandError(
      "\(directory) is not an adapter (it has no \(PEFTConfiguration.fileName)). Give a run of minimind lora.")
  }
  let files = try PEFTAdapter(directory: directory)
  return (files, try model(base ?? files.baseDirectory()))
}
