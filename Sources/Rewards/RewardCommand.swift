import Foundation
import Storage

/// A program of the user's that scores answers. It is started for each group of answers, reads a line of JSON for each
/// (`{"task", "messages", "check", "text", "answer", "tokens", "truncated"}`) until its input ends, and writes a line for
/// each, in their order: a number, or `{"reward": number}`.
///
/// It has a bounded time and memory, and is killed with all that it has started when it takes more.
package struct RewardCommand: Reward {
  package let name = "command"
  /// For `/bin/sh`.
  package let command: String
  package let seconds: Double
  package let memoryBytes: Int

  package init(_ command: String, seconds: Double = 60, memoryBytes: Int = 4 << 30) {
    self.command = command
    self.seconds = seconds
    self.memoryBytes = memoryBytes
  }

  package func scores(_ answers: [AnswerToScore]) throws(RewardError) -> [Double] {
    let input = answers.map { Self.line($0).compactText + "\n" }.joined()
    let output = try run(Array(input.utf8), mostBytes: 4096 * (answers.count + 1))
    let lines = output.split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
    guard lines.count == answers.count else {
      throw failure("wrote \(lines.count) lines for \(answers.count) answers")
    }
    var scores: [Double] = []
    for (number, line) in lines.enumerated() {
      let json = try? JSON(parsing: line)
      guard let score = json?.doubleValue ?? json?["reward"]?.doubleValue, score.isFinite else {
        throw failure("wrote \(JSON.quoted(String(line.prefix(60)))) as line \(number + 1), which is no finite number")
      }
      scores.append(score)
    }
    return scores
  }

  private static func line(_ answer: AnswerToScore) -> JSON {
    .object([
      .init("task", .string(answer.task.name)), .init("messages", .array(answer.task.messages.map(\.json))),
      .init("check", answer.task.check.json), .init("text", .string(answer.text)),
      .init("answer", .string(answer.answer)), .init("tokens", .integer(answer.tokenCount)),
      .init("truncated", .bool(answer.isTruncated)),
    ])
  }

  private func failure(_ what: String) -> RewardError {
    RewardError(
      "the reward program \(JSON.quoted(String(command.prefix(80)))) \(what). Correct it, then go on with --resume.")
  }

  /// Runs the program to its end.
  private func run(_ input: [UInt8], mostBytes: Int) throws(RewardError) -> [UInt8] {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { throw failure("cannot be started: \(String(cString: strerror(errno)))") }
    defer { close(ends[0]) }
    // The program has the other end as its output, and neither of these.
    for descriptor in ends { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    let file: FileHandle
    do { file = try Self.file(input) } catch {
      close(ends[1])
      throw failure("cannot be given its answers: \(error)")
    }
    var process: pid_t = 0
    let started = spawn(input: file.fileDescriptor, output: ends[1], &process)
    close(ends[1])
    guard started == 0 else { throw failure("cannot be started: \(String(cString: strerror(started)))") }
    // Whatever happens, neither it nor what it has started stays.
    func end() -> Int32 {
      kill(-process, SIGKILL)
      var status: Int32 = 0
      while waitpid(process, &status, 0) < 0, errno == EINTR {}
      return status
    }
    var output: [UInt8] = []
    let deadline = ContinuousClock.now + .seconds(seconds)
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let left = (deadline - .now) / .milliseconds(1)
      guard left > 0 else {
        _ = end()
        throw failure("has not ended after \(formatNumber(seconds)) seconds, the limit, and was stopped")
      }
      var polled = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
      let count = poll(&polled, 1, Int32(min(left, 1000)))
      if count < 0 && errno != EINTR { break }
      guard count > 0 else { continue }
      let read = read(ends[0], &buffer, buffer.count)
      if read == 0 || read < 0 && errno != EINTR { break }
      output += buffer.prefix(max(0, read))
      guard output.count <= mostBytes else {
        _ = end()
        throw failure("wrote more than \(formatBytes(mostBytes)) for its answers, and was stopped")
      }
    }
    // Its output has ended; it may take the rest of its time to end itself.
    var status: Int32 = 0
    while waitpid(process, &status, WNOHANG) == 0 {
      guard ContinuousClock.now < deadline else {
        _ = end()
        throw failure("has not ended after \(formatNumber(seconds)) seconds, the limit, and was stopped")
      }
      usleep(1000)
    }
    kill(-process, SIGKILL)
    let signal = status & 0x7F
    guard signal == 0 else {
      throw failure(
        "was ended by signal \(signal)"
          + (signal == SIGKILL ? "; its memory is limited to \(formatBytes(memoryBytes))" : ""))
    }
    let code = status >> 8 & 0xFF
    guard code == 0 else { throw failure("ended with exit code \(code)") }
    return output
  }

  /// A file without a name that holds the input: a pipe would have to be written while the output is read, and its end
  /// would be a signal where the program does not read all.
  private static func file(_ input: [UInt8]) throws -> FileHandle {
    let path = NSTemporaryDirectory() + "/minimind-reward-\(getpid())-\(UUID().uuidString)"
    let descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw FileError("cannot create", path, errno: errno) }
    unlink(path)
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    try file.write(contentsOf: input)
    try file.seek(toOffset: 0)
    return file
  }

  /// Starts the program in a process group of its own, with its limit of memory.
  ///
  /// - Returns: 0, or the error's number.
  private func spawn(input: Int32, output: Int32, _ process: inout pid_t) -> Int32 {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, input, 0)
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
    posix_spawnattr_setpgroup(&attributes, 0)
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigaddset(&signals, SIGPIPE)
    sigaddset(&signals, SIGINT)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    let script = "ulimit -v \(memoryBytes / 1024) && \(command)"
    let texts: [String] = ["/bin/sh", "-c", script]
    let arguments: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    return posix_spawn(&process, "/bin/sh", &actions, &attributes, arguments, environ)
  }
}
