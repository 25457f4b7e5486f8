import Storage
import Testing
import minimind

private enum Precision: String, CaseIterable, Sendable { case fp32, bf16 }
private let input = Option.list("input", "FILE", isRequired: true, help: "Text to prepare.")
private let vocabularySize = Option.integer(
  "vocab-size", default: 6400, in: 259...65536, help: "Entries of the vocabulary.")
private let rate = Option.number("learning-rate", default: 0.0002, in: 0...1, help: "Peak learning rate.")
private let precision = Option.choice("precision", default: Precision.bf16, help: "Arithmetic of the matrix products.")
private let strict = Option.flag("strict", help: "Stops at the first broken line.")
private let place = Option.optionalPositional("MODEL", help: "A model directory.")

private let commands = [
  Command(
    "tokenizer", "train", summary: "learns a tokenizer",
    options: [input, vocabularySize, rate, precision, strict, Option<Int?>.threads],
    example: "minimind tokenizer train --input text.txt"
  ) { _ in },
  Command("tokenizer", "encode", summary: "text to ids", options: [], example: "minimind tokenizer encode") { _ in },
  Command("info", summary: "describes a model", options: [place], example: "minimind info RUN") { _ in },
]

private func parse(_ line: String) throws -> Invocation {
  guard case .run(let invocation) = try parseArguments(line.split(separator: " ").map(String.init), commands: commands)
  else { throw UsageError("not a run") }
  return invocation
}

@Suite("Command line parsing")
struct ArgumentParserTests {
  @Test("options are read with their types, defaults fill the rest")
  func values() throws {
    let invocation = try parse(
      "tokenizer train --input a.txt b.txt --strict --vocab-size=1000 --input c.txt --precision fp32")
    #expect(invocation[input] == ["a.txt", "b.txt", "c.txt"])
    #expect(invocation[vocabularySize] == 1000)
    #expect(invocation[rate] == 0.0002)
    #expect(invocation[precision] == .fp32)
    #expect(invocation[strict])
    #expect(invocation[Option<Int?>.threads] == nil)
    #expect(invocation.isGiven(vocabularySize) && !invocation.isGiven(rate))
  }

  @Test("a bare argument is told by its place")
  func positional() throws {
    #expect(try parse("info RUN")[place] == "RUN")
    #expect(try parse("info")[place] == nil)
  }

  @Test(
    "bad usage is one sentence that names the fault and the way out",
    arguments: [
      ("tokeniser train", "there is no command \"tokeniser\"; did you mean \"tokenizer\"?"),
      ("tokenizer trian", "there is no command \"tokenizer trian\"; did you mean \"tokenizer train\"?"),
      ("fly", "there is no command \"fly\"; choose one of info, tokenizer."),
      ("tokenizer", "minimind tokenizer needs one more word: train, encode."),
      (
        "tokenizer train --input a --vocabsize 3",
        "minimind tokenizer train has no option --vocabsize; did you mean --vocab-size?"
      ),
      (
        "tokenizer train --input a --zebra 3",
        "minimind tokenizer train has no option --zebra; its --help lists those it has."
      ),
      ("tokenizer train --input a --vocab-size many", "--vocab-size is \"many\"; it must be a whole number."),
      ("tokenizer train --input a --vocab-size 12", "--vocab-size is 12; it must be between 259 and 65536."),
      ("tokenizer train --input a --vocab-size", "--vocab-size needs a value: --vocab-size N."),
      ("tokenizer train --input a --vocab-size 300 --vocab-size 301", "--vocab-size is given twice; give it once."),
      ("tokenizer train --input a --threads 0", "--threads is 0; it must be between 1 and 1024."),
      ("tokenizer train --input a --learning-rate x", "--learning-rate is \"x\"; it must be a number."),
      ("tokenizer train --input a --learning-rate 2", "--learning-rate is 2; it must be between 0 and 1."),
      ("tokenizer train --input a --precision fp16", "--precision is \"fp16\"; it must be fp32, bf16."),
      ("tokenizer train --input a --strict=yes", "--strict takes no value; write only --strict."),
      ("tokenizer train", "minimind tokenizer train needs --input FILE; text to prepare."),
      ("tokenizer train --input", "--input needs a value: --input FILE."),
      ("info a b", "minimind info does not take \"b\"; values follow an option's name."),
      ("info -v", "-v is not an option; options are long, as in --help."),
    ])
  func badUsage(line: String, message: String) {
    #expect(throws: UsageError(message)) { try parse(line) }
  }

  @Test("help is asked for at any level")
  func help() throws {
    let cases: [([String], [String])] = [
      ([], []), (["--help"], []), (["help", "tokenizer"], ["tokenizer"]), (["tokenizer", "--help"], ["tokenizer"]),
      (["tokenizer", "train", "--input", "--help"], ["tokenizer", "train"]),
    ]
    for (arguments, path) in cases {
      guard case .help(let found) = try parseArguments(arguments, commands: commands) else {
        Issue.record("\(arguments) is no request for help")
        continue
      }
      #expect(found == path)
    }
  }

  @Test("the help page shows usage, defaults and an example")
  func helpPage() throws {
    #expect(
      try helpText(for: ["tokenizer", "train"], commands: commands) == """
        minimind tokenizer train: learns a tokenizer

        Usage: minimind tokenizer train --input FILE… [options]

        Options:
          --input FILE…          Text to prepare. Required.
          --vocab-size N         Entries of the vocabulary. (default: 6400)
          --learning-rate X      Peak learning rate. (default: 0.0002)
          --precision fp32|bf16  Arithmetic of the matrix products. (default: bf16)
          --strict               Stops at the first broken line.
          --threads N            Threads to compute with. (default: all cores)
          --help                 Shows this page.

        Example:
          minimind tokenizer train --input text.txt

        """)
    #expect(try helpText(for: [], commands: commands).contains("  tokenizer train   learns a tokenizer\n"))
    #expect(throws: UsageError("there is no command \"infos\"; did you mean \"info\"?")) {
      try helpText(for: ["infos"], commands: commands)
    }
  }

  @Test("exit codes: 0 done, 1 failed, 2 bad usage, 130 interrupted")
  func exitCodes() {
    let quiet = Console(descriptor: -1)
    func code(_ error: (any Error)?) -> Int32 {
      let command = Command("go", summary: "goes", options: [], example: "minimind go") { _ in
        if let error { throw error }
      }
      return runProgram(["go"], commands: [command], output: quiet, errors: quiet)
    }
    #expect(code(nil) == 0)
    #expect(code(CommandError("no")) == 1)
    #expect(code(UsageError("no")) == 2)
    #expect(code(Interrupted()) == 130)
    #expect(code(OutputClosed()) == 0)
    #expect(runProgram(["stop"], commands: commands, output: quiet, errors: quiet) == 2)
  }
}
