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
///
/// - Parameter timeLimit: seconds that a process may keep the others waiting.
func withProcesses(timeLimit: Int, _ body: (ProcessExchange) throws -> Void) throws {
  guard Launcher.hasStartedGroup else { return try body(ProcessExchange()) }
  let exchange = try ProcessExchange(
    timeLimit: Double(timeLimit), report: { try? Console.standardError.print("error: \($0)") },
    join: { try MPIProcessGroup() })
  let share = CoreShare.own
  if exchange.isFirst, share.isBound {
    try? Console.standardError.print(
      "mpirun has bound this process to \(share.allowed) core\(share.allowed == 1 ? "" : "s") where its share of the "
        + "machine is \(share.fair). To use them all, start it with: mpirun --bind-to none")
  }
  do {
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
