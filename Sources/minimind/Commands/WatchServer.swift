import Foundation
import Serving
import Storage
import Training

/// Answers the requests of the watch page. They name a run by its number in the list, never a path.
///
///     /metrics                   `Metric.pageDescription`: the charts, and the names in the lines
///     /runs                      what each run is, and whether it goes on
///     /runs/N/metrics/FILE/END   lines of metrics.jsonl after the byte END of the file that was FILE
///     /runs/N/samples            the end of samples.txt
struct WatchServer: Sendable {
  let runs: [String]
  let policy: AccessPolicy

  func handle(_ received: Result<HTTPRequest, HTTPRefusal>, _ exchange: HTTPExchange) {
    guard case .success(let request) = received else {
      return exchange.respond(failure(413, "The request is too large."))
    }
    if policy.refusal(of: request) != nil {
      return exchange.respond(failure(403, "Open the page by the address that minimind watch prints."))
    }
    guard request.method == "GET" || request.method == "HEAD" else {
      return exchange.respond(failure(405, "Only GET is understood."))
    }
    if let file = WatchPage.file(request.path) {
      var response = HTTPResponse(contentType: file.contentType, body: file.bytes)
      response.add("Content-Security-Policy", Page.contentSecurityPolicy)
      return exchange.respond(finished(response))
    }
    exchange.respond(answer(request.path) ?? failure(404, "There is nothing at this path."))
  }

  private func answer(_ path: String) -> HTTPResponse? {
    let parts = path.split(separator: "/", omittingEmptySubsequences: true)
    if parts == ["metrics"] { return json(Metric.pageDescription(byteUnits: byteUnits)) }
    guard parts.first == "runs" else { return nil }
    if parts.count == 1 { return json(.array(runs.map(description))) }
    guard let number = Int(parts[1]), runs.indices.contains(number) else { return nil }
    switch (parts.count, parts.count > 2 ? parts[2] : "") {
    case (5, "metrics"):
      guard let file = UInt64(parts[3]), let end = Int(parts[4]), end >= 0 else { return nil }
      return metrics(runs[number] + "/metrics.jsonl", file: file, end: end)
    case (3, "samples"): return samples(runs[number] + "/samples.txt")
    default: return nil
    }
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

  /// Bytes of an answer at most; the page asks again for the rest.
  private static let maximumBytes = 4 << 20

  private func metrics(_ path: String, file: UInt64, end: Int) -> HTTPResponse {
    guard let piece = FilePiece(path, from: end, of: file, maximum: Self.maximumBytes) else {
      return json(
        .object([
          .init("file", .string("0")), .init("start", .integer(0)), .init("end", .integer(0)),
          .init("isMore", .bool(false)), .init("lines", .array([])),
        ]))
    }
    // The last line may be incomplete.
    let whole = piece.bytes.lastIndex(of: 0x0A).map { piece.bytes[...$0] } ?? []
    let lines = String(decoding: whole, as: UTF8.self).split(separator: "\n")
      .compactMap(Metric.line)
    return json(
      .object([
        .init("file", .string(String(piece.file))), .init("start", .integer(piece.start)),
        .init("end", .integer(piece.start + whole.count)), .init("isMore", .bool(piece.isMore && !whole.isEmpty)),
        .init("lines", .array(lines)),
      ]))
  }

  /// The last 64 KiB, from the beginning of a step.
  private func samples(_ path: String) -> HTTPResponse {
    var text = ""
    let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0
    let start = max(0, size - 64 << 10)
    if let piece = FilePiece(path, from: start, of: nil, maximum: 64 << 10) {
      text = String(decoding: piece.bytes, as: UTF8.self)
      if start > 0, let heading = text.range(of: "\n=== step ") {
        text = String(text[heading.lowerBound...].dropFirst())
      }
    }
    return json(.object([.init("text", .string(text))]))
  }

  private func json(_ value: JSON) -> HTTPResponse {
    finished(HTTPResponse(contentType: "application/json", text: value.compactText))
  }

  private func failure(_ status: Int, _ text: String) -> HTTPResponse {
    finished(HTTPResponse(status: status, contentType: "text/plain; charset=utf-8", text: text + "\n"))
  }

  private func finished(_ response: HTTPResponse) -> HTTPResponse {
    var response = response
    response.add("Cache-Control", "no-store")
    response.add("X-Content-Type-Options", "nosniff")
    return response
  }
}

/// Some bytes of a file that another process may be writing or replacing.
private struct FilePiece {
  /// What the system calls the file: another number when it has been replaced.
  let file: UInt64
  let start: Int
  let bytes: [UInt8]
  let isMore: Bool

  /// The bytes from `start`; from the beginning when the file is no longer `file`, or has become shorter. Nil when there
  /// is none.
  init?(_ path: String, from start: Int, of file: UInt64?, maximum: Int) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
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
