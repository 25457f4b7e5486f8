import Foundation
import Machine
import Processes

/// The program's version, which `--version` prints and checkpoints record.
package let programVersion = "0.1.0"

/// Runs the command that `arguments` (without the program's name) ask for, and renders every error here.
///
/// - Returns: the exit code: 0 done, 1 failed, 2 bad usage, 130 interrupted.
package func runProgram(
  _ arguments: [String], commands: [Command], output: Console = .standardOutput, errors: Console = .standardError
) -> Int32 {
  do {
    switch try parseArguments(arguments, commands: commands) {
    case .run(let invocation):
      guard invocation.command.takesProcesses || !Launcher.hasStartedSeveral else {
        throw UsageError(
          "\(invocation.command.name) is the work of one process, and several were started. Start it without mpirun.")
      }
      try checkThreads(invocation)
      try ProcessLimits.check()
      try invocation.command.run(invocation)
    case .help(let path): try output.write(try helpText(for: path, commands: commands))
    case .version: try output.print("minimind \(programVersion)")
    }
    return 0
  } catch is OutputClosed {
    return 0
  } catch let error as Interrupted {
    try? errors.print(error.description)
    return 130
  } catch let error as UsageError {
    // Several processes mostly read the same words: the first one speaks and makes mpirun end the others, which wait
    // for that.
    if Launcher.rank ?? 0 != 0 { sleep(2) }
    try? errors.print("error: \(error.description)")
    return 2
  } catch {
    try? errors.print("error: \(sentence(for: error))")
    return 1
  }
}

/// - Throws: `UsageError` for more threads than can make progress: a step begins and ends hundreds of times in all of
///   them.
private func checkThreads(_ invocation: Invocation) throws {
  let most = max(128, 4 * Processor.coreCount)
  guard let text = invocation.texts["threads"]?.first, let count = Int(text), count > most else { return }
  throw UsageError(
    "--threads is \(count), and this machine has \(Processor.coreCount) cores: give at most \(most), or leave it out.")
}

/// One line for any error. Ours describe themselves; the system's bring a localized sentence.
func sentence(for error: any Error) -> String {
  let text = type(of: error) is NSError.Type ? error.localizedDescription : String(describing: error)
  return text.split(whereSeparator: \.isNewline).joined(separator: " ")
}
