import Foundation
import Serving
import Training

/// `minimind watch`: curves of runs, in a browser or in the terminal.
let watchCommand: Command = {
  let runs = Option.positionals("RUN", help: "Runs, finished or still training, or directories of runs.")
  let terminal = Option.flag("terminal", help: "Shows the curves here, as text.")
  let host = Option.text(
    "host", "ADDRESS", default: "127.0.0.1", help: "Where to listen. Every client that reaches it sees the curves.")
  let port = Option.integer("port", default: 8090, in: 0...65535, help: "The port to listen on; 0: any free one.")
  return Command(
    "watch", summary: "shows the curves of training runs as they grow, on a page or in the terminal",
    options: [runs, terminal, host, port], example: "minimind watch my-run my-other-run"
  ) { invocation in
    let paths = try invocation[runs].flatMap { directory in
      let found = RunHistory.runs(in: directory)
      guard !found.isEmpty else {
        throw CommandError("\(directory) holds no run. Give the --output of a training, or a directory of some.")
      }
      return found
    }
    if invocation[terminal] { return try watchInTerminal(paths) }
    let watcher = WatchServer(runs: paths, policy: AccessPolicy(hostNames: [invocation[host]], isAdjustable: false))
    Interruption.watch()
    let server = try HTTPServer(host: invocation[host], port: invocation[port]) { watcher.handle($0, $1) }
    let names = paths.count == 1 ? paths[0] : "\(paths.count) runs"
    try Console.standardOutput.print("watching \(names) at http://\(server.address). Ctrl-C stops.")
    while !Interruption.isRequested { usleep(50_000) }
    server.stopListening()
    server.stop(waitingFor: 1)
  }
}()

/// Draws all runs, again and again on a terminal until Ctrl-C, once elsewhere.
private func watchInTerminal(_ paths: [String]) throws {
  let console = Console.standardOutput
  guard console.isTerminal else { return try console.write(watchText(paths, width: console.width, isCut: false)) }
  Interruption.watch()
  while !Interruption.isRequested {
    let text = watchText(paths, width: console.width, isCut: true)
    // Back to the corner, then each line over the old one, and nothing below: so it does not flicker.
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\u{1B}[K\n")
    try console.write("\u{1B}[H" + lines + "\u{1B}[J")
    for _ in 0..<40 where !Interruption.isRequested { usleep(50_000) }
  }
  try console.print()
}
