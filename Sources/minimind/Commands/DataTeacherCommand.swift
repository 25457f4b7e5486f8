import CPUEngine
import Corpus
import Foundation
import Machine
import Model
import Storage
import Training

/// `minimind data teacher`: what a teacher finds likeliest, kept with prepared data.
let dataTeacherCommand: Command = {
  let teacher = Option.required(
    "teacher", "MODEL",
    help: "The model to ask: a run, a checkpoint or a model directory, with the tokenizer of the data.")
  let data = Option.required("data", "DIR", help: "Data that data pretrain or data sft has prepared.")
  let output = Option.required(
    "output", "DIR",
    help:
      "Directory for the data with the teacher's answers; prepared data that is already there is replaced. The data "
      + "themselves take no room twice on the same disk.")
  let top = Option.integer(
    "top", default: 32, in: 1...TeacherFile.mostTokens,
    help: "How many of its likeliest tokens are kept, each with its probability; all others count together as one.")
  let temperature = Option.number(
    "distill-temperature", default: Distillation().temperature, in: 0.01...100,
    help: "At which the teacher is asked; that of the training.")
  let sequenceLength = Option.optionalInteger(
    "sequence-length", in: 1...1 << 20, defaultText: "512, or the teacher's limit if that is lower",
    help: "The most tokens of a document that it reads at once; that of the training.")
  let precision = Option.choice(
    "precision", default: CPUEngineProvider.fastestPrecision, help: "Number type of the matrix products' inputs.")
  return Command(
    "data", "teacher", summary: "keeps what a teacher finds likeliest with prepared data, for training without it",
    options: [teacher, data, output, top, temperature, sequenceLength, precision, Option.threads],
    example: "minimind data teacher --teacher my-large-run --data my-data --output my-taught-data"
  ) { invocation in
    let start = monotonicSeconds()
    let engines = CPUEngineProvider(threads: threadCount(invocation))
    let directory = invocation[output]
    let preparation = try TeacherPreparation(
      teacher: invocation[teacher], data: withoutTrailingSlashes(invocation[data]), top: invocation[top],
      temperature: invocation[temperature], sequenceLength: invocation[sequenceLength],
      precision: invocation[precision], engines: engines)
    let training = preparation.dataset.training
    let needed = try preparation.memoryBytes()
    if let available = MachineMemory.availableBytes, needed > available {
      throw CommandError(
        "asking the teacher needs about \(formatBytes(needed)) of memory, \(formatBytes(needed - available)) more than the "
          + "\(formatBytes(available)) that are available. Lower --sequence-length, or choose a smaller teacher.")
    }
    Interruption.watch()
    let progress = ProgressLine(
      "asking", total: training.inputTokenCount, unit: .things("tokens"), console: .standardOutput)
    defer { progress.finish() }
    let manifest = try preparation.write(to: directory) { tokens in
      progress.update(completed: tokens)
      return !Interruption.isRequested
    }
    progress.finish()
    guard let manifest else { throw Interrupted() }
    let seconds = monotonicSeconds() - start
    let rate = formatCount(Int(Double(training.inputTokenCount) / max(1e-9, seconds)))
    let console = Console.standardOutput
    try console.write(
      renderPairs(
        summary(of: manifest) + [
          ("time", "\(formatDuration(seconds)), \(rate) tokens/s"), ("written", directory),
        ]))
    let arguments = TrainingSuggestion(manifest).arguments
    try console.print(
      "\nTrain on it: minimind \(manifest.kind.rawValue) \(arguments) --data \(directory) --output RUN")
  }
}()
