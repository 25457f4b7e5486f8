import Foundation
import Processes

extension Option where Value == Int {
  static let exchangeTimeout = Option.integer(
    "exchange-timeout", default: 600, in: 1...86400,
    help: "With mpirun: seconds that a process may keep the others waiting before the run ends.")
}

/// Runs `body` as one of the processes that `mpirun` has started, or as the only one.
///
/// An error of any process ends all of them and is reported once. All of them know of an interruption and of bad usage.
func withProcesses(_ invocation: Invocation, _ body: (ProcessExchange) throws -> Void) throws {
  guard Launcher.hasStartedGroup else { return try body(ProcessExchange()) }
  let exchange = try ProcessExchange(
    timeLimit: Double(invocation[Option.exchangeTimeout]), report: { try? Console.standardError.print("error: \($0)") },
    join: { try MPIProcessGroup() })
  let share = CoreShare.own
  if exchange.isFirst, share.isBound {
    try? Console.standardError.print(
      "mpirun has bound this process to \(share.allowed) core\(share.allowed == 1 ? "" : "s") where its share of the "
        + "machine is \(share.fair). To use them all, start it with: mpirun --bind-to none")
  }
  do {
    try exchange.requireSame(
      facts(of: invocation), making: "result",
      advice: "Start the same command line in all processes; only --threads and the paths of what they read may differ."
    )
    try body(exchange)
    exchange.close()
  } catch let error where error is Interrupted || error is UsageError {
    exchange.close()
    // The first one speaks for all; another one's exit code would make mpirun end it before it has.
    if exchange.isFirst { throw error }
  } catch {
    if exchange.isAlone {
      exchange.close()
      throw error
    }
    exchange.fail(sentence(for: error))
  }
}

/// The command line as far as it must be the same in all processes.
private func facts(of invocation: Invocation) -> [String: String] {
  // On several machines each finds its own files, whose content is compared when it has been read.
  let free = ["threads", "input", "tokenizer", "model", "from", "data"]
  var facts = invocation.texts.filter { !free.contains($0.key) }.map { name, texts in
    ("--" + name, texts.allSatisfy(\.isEmpty) ? "yes" : texts.joined(separator: " "))
  }
  facts += [("command", invocation.command.name), ("version", programVersion)]
  return Dictionary(uniqueKeysWithValues: facts)
}
