import Foundation
import Storage
import Training

/// `minimind runs list`: which runs there are, and how far.
let runsListCommand: Command = {
  let directory = Option.optionalPositional("DIR", help: "Where to look, two levels deep; without it, here.")
  return Command(
    "runs", "list", summary: "lists the training runs of a directory", options: [directory],
    example: "minimind runs list my-runs"
  ) { invocation in
    let directory = invocation[directory] ?? "."
    let paths = RunHistory.runs(in: directory)
    guard !paths.isEmpty else {
      throw CommandError("\(directory) holds no run. Name the directory that your --output was in.")
    }
    var table = TextTable([
      ("run", .left), ("stage", .left), ("model", .left), ("state", .left), ("steps", .right), ("loss", .right),
      ("held out", .right), ("tokens/s", .right),
    ])
    var readable = 0
    for path in paths {
      // A damaged run is no reason not to show the others.
      do {
        let run = try RunHistory(path)
        table.add([
          path, run.record.stage, run.record.options.modelName, run.state.rawValue,
          "\(run.step)/\(run.record.totalSteps)", Metric.loss.text(run.value(.loss)),
          Metric.loss.text(run.value(.loss, .eval)), Metric.tokensPerSecond.text(run.value(.tokensPerSecond)),
        ])
        readable += 1
      } catch {
        try Console.standardError.print("\(error)")
      }
    }
    guard readable > 0 else { throw CommandError("no run in \(directory) can be read.") }
    try Console.standardOutput.write(table.render())
  }
}()

/// `minimind runs compare`: what was set differently, and the results.
let runsCompareCommand: Command = {
  let first = Option.positional("A", help: "A run.")
  let second = Option.positional("B", help: "Another run.")
  return Command(
    "runs", "compare", summary: "compares two runs: the settings that differ, losses and speed",
    options: [first, second], example: "minimind runs compare my-run my-other-run"
  ) { invocation in
    let runs = [try RunHistory(invocation[first]), try RunHistory(invocation[second])]
    var table = TextTable([("", .left), (runs[0].path, .left), (runs[1].path, .left)])
    let settings = runs.map { settingTexts($0.record) }
    for name in Set(settings.flatMap(\.keys)).sorted() {
      let values = settings.map { $0[name] ?? "-" }
      if values[0] != values[1] { table.add([name] + values) }
    }
    func add(_ name: String, _ text: (RunHistory) -> String) { table.add([name] + runs.map(text)) }
    add("state") { "\($0.state.rawValue), step \($0.step) of \($0.record.totalSteps)" }
    for metric in Metric.all where metric.summary != nil {
      for side in metric.sides where runs.contains(where: { $0.value(metric, side) != nil }) {
        add(metric.comparisonLabel(side)) { metric.text($0.value(metric, side)) }
        guard side == .eval, runs.contains(where: { $0.best(metric, side) != nil }) else { continue }
        add("\(metric.label(side)), best") { run in
          run.best(metric, side).map { "\(metric.text($0.value)) (step \($0.step))" } ?? "-"
        }
      }
    }
    try Console.standardOutput.write(table.render())
  }
}()

/// All that was set or found at the beginning of a run, by name.
private func settingTexts(_ record: RunRecord) -> [String: String] {
  var texts: [String: String] = [:]
  for setting in Stage.all.flatMap(\.settings) { texts[setting.name] = record.options[setting.name]?.settingText }
  texts["stage"] = record.stage
  let extensions = record.extensions.map { "after step \($0.fromStep) to \($0.totalSteps)" }
  texts["extended"] = extensions.isEmpty ? nil : extensions.joined(separator: ", ")
  texts["parameters"] = formatCount(record.parameterCount)
  texts["program version"] = record.programVersion
  texts["machine"] = record.machine
  texts["begun on"] = record.device
  texts["data manifest"] = String(record.dataManifestHash.prefix(12))
  texts["tokenizer hash"] = String(record.tokenizerHash.prefix(12))
  texts["start model hash"] = record.startModelHash.map { String($0.prefix(12)) }
  return texts
}
