import Foundation
import Machine

@main
enum MiniMind {
  static func main() {
    Interruption.letWritesFail()
    ProcessLimits.explainRefusedMemory()
    // Swift replaces what is not UTF-8, and so would look for, or write, a file of another name.
    for index in stride(from: 1, to: Int(CommandLine.argc), by: 1) {
      guard let argument = CommandLine.unsafeArgv[index], String(validatingCString: argument) == nil
      else { continue }
      let text = String(cString: argument)
      try? Console.standardError.print(
        "error: \"\(text)\" is not UTF-8. Rename the file, for example with convmv.")
      exit(2)
    }
    exit(runProgram(Array(CommandLine.arguments.dropFirst()), commands: allCommands))
  }
}
