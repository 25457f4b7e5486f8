import Foundation

@main
enum MiniMind {
  static func main() {
    Interruption.ignoreClosedPipes()
    exit(runProgram(Array(CommandLine.arguments.dropFirst()), commands: allCommands))
  }
}
