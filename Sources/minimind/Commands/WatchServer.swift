import Foundation
import Serving
import Storage
import Training

/// Answers the requests of the watch page. They name a run by its number in the list, never by a path.
package struct WatchServer: Sendable {
  private let runs: [String]
  private let router: Router<WatchServer>

  /// - Parameter runs: directories of runs, in the order in which the page shows them.
  package init(runs: [String], policy: AccessPolicy) {
    self.runs = runs
    router = Router(Self.routes, page: WatchPage.file, policy: policy)
  }

  /// Answers a request, now or later.
  package func handle(_ received: Result<HTTPRequest, HTTPRefusal>, _ sink: any ResponseSink) {
    router.handle(received, for: self, sink)
  }

  private static let routes: [Route<WatchServer>] = [
    // The charts, and the names in the lines.
    Route(method: "GET", path: "/metrics") { _, _, _, reply in
      reply.send(HTTPResponse(Metric.pageDescription))
    },
    // What each run is, and whether it is running.
    Route(method: "GET", path: "/runs") { server, _, _, reply in
      reply.send { .array(server.runs.map(server.description)) }
    },
    // Lines of metrics.jsonl after the first END bytes of the file that had the number FILE.
    Route(method: "GET", path: "/runs/{run}/metrics/{file}/{end}") { server, _, values, reply throws(APIError) in
      let run = try server.run(values[0])
      guard let file = UInt64(values[1]), let end = Int(values[2]), end >= 0 else { throw .unknownPath }
      reply.send { server.metrics(run + "/metrics.jsonl", file: file, end: end) }
    },
    // The end of samples.txt.
    Route(method: "GET", path: "/runs/{run}/samples") { server, _, values, reply throws(APIError) in
      let run = try server.run(values[0])
      reply.send { server.samples(run + "/samples.txt") }
    },
  ]

  private func run(_ number: String) throws(APIError) -> String {
    guard let number = Int(number), runs.indices.contains(number) else { throw .unknownPath }
    return runs[number]
  }

  private func description(_ path: String) -> JSON {
    var members = [JSON.Member("name", .string(path))]
    if let record = try? RunRecord(directory: path) {
      members += [
        .init("stage", .string(record.stage)),
        .init("model", .string(record.options.modelName)),
        .init("totalSteps", .integer(record.totalSteps)),
      ]
    }
    members.append(.init("isRunning", .bool(DirectoryLock.isHeld(path))))
    return .object(members)
  }

  /// The most bytes of a file in one answer; the page asks again for the rest.
  private static let maximumBytes = 4 << 20

  private func metrics(_ path: String, file: UInt64, end: Int) -> JSON {
    guard let piece = FilePiece(path, from: end, of: file, maximum: Self.maximumBytes) else {
      return .object([
        .init("file", .string("0")), .init("start", .integer(0)), .init("end", .integer(0)),
        .init("isMore", .bool(false)), .init("lines", .array([])),
      ])
    }
    // The last line may not be complete yet.
    let whole = piece.bytes.lastIndex(of: 0x0A).map { piece.bytes[...$0] } ?? []
    let lines = String(decoding: whole, as: UTF8.self).split(separator: "\n")
      .compactMap(Metric.line)
    return .object([
      .init("file", .string(String(piece.file))), .init("start", .integer(piece.start)),
      .init("end", .integer(piece.start + whole.count)), .init("isMore", .bool(piece.isMore && !whole.isEmpty)),
      .init("lines", .array(lines)),
    ])
  }

  /// The last 64 KiB, from the beginning of a step.
  private func samples(_ path: String) -> JSON {
    var text = ""
    let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0
    let start = max(0, size - 64 << 10)
    if let piece = FilePiece(path, from: start, of: nil, maximum: 64 << 10) {
      text = String(decoding: piece.bytes, as: UTF8.self)
      if start > 0, let heading = text.range(of: "\n=== step ") {
        text = String(text[heading.lowerBound...].dropFirst())
      }
    }
    return .object([.init("text", .string(text))])
  }
}

/// Some bytes of a file that another process may be writing or replacing.
private struct FilePiece {
  /// The file's inode number: another one after it has been replaced.
  let file: UInt64
  let start: Int
  let bytes: [UInt8]
  let isMore: Bool

  /// The bytes from `start`, or from the beginning if the file is no longer `file` or has become shorter. Nil if there
  /// is no file.
  init?(_ path: String, from start: Int, of file: UInt64?, maximum: Int) {
    // Without O_NONBLOCK a pipe of that name would wait for a writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    self.file = UInt64(status.st_ino)
    let isSame = file == nil || file == self.file
    let offset = isSame && start <= status.st_size ? start : 0
    var buffer = [UInt8](repeating: 0, count: min(maximum, Int(status.st_size) - offset))
    let count = buffer.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, off_t(offset)) }
    guard count >= 0 else { return nil }
    buffer.removeLast(buffer.count - count)
    self.start = offset
    bytes = buffer
    isMore = offset + count < Int(status.st_size)
  }
}
