import Foundation
import Serving
import Storage

/// An answer that stays in memory, so that a server can be tested without a socket.
///
/// - Unchecked Sendable: everything that changes is read and written with `condition` locked.
package final class RecordedResponse: ResponseSink, @unchecked Sendable {
  private let condition = NSCondition()
  private var response: HTTPResponse?
  private var isComplete = false
  private var hasDisconnected = false
  private var action: (@Sendable () -> Void)?

  package init() {}

  // MARK: - What the client gets

  /// The answer with all of its body; waits until it is complete.
  package var whole: HTTPResponse {
    condition.withLock {
      while !isComplete { condition.wait() }
      return response!
    }
  }

  /// The body, which must be JSON; waits until it is complete.
  package func json() throws -> JSON { try JSON(parsing: String(decoding: whole.body, as: UTF8.self)) }

  /// The data of a stream's events; waits until it is complete.
  package var events: [String] {
    String(decoding: whole.body, as: UTF8.self).components(separatedBy: "\n\n").filter { !$0.isEmpty }
      .map { String($0.dropFirst("data: ".count)) }
  }

  /// Waits until a stream has so many bytes, or is complete.
  package func wait(bytes: Int) {
    condition.withLock { while !isComplete && (response?.body.count ?? 0) < bytes { condition.wait() } }
  }

  /// Does what happens when the client closes its connection.
  package func disconnect() {
    let action = condition.withLock {
      hasDisconnected = true
      defer { self.action = nil }
      return self.action
    }
    action?()
  }

  // MARK: - ResponseSink

  package func respond(_ response: HTTPResponse) {
    condition.withLock {
      guard !isComplete else { return }
      self.response = response
      complete()
    }
  }

  package func startStream(_ head: HTTPResponse) {
    condition.withLock { if !isComplete { response = head } }
  }

  package func write(_ bytes: [UInt8]) {
    condition.withLock {
      guard !isComplete && !hasDisconnected else { return }
      response?.body += bytes
      condition.broadcast()
    }
  }

  package func end() { condition.withLock { complete() } }

  package var isClosed: Bool { condition.withLock { hasDisconnected } }

  package func onDisconnect(_ action: @escaping @Sendable () -> Void) {
    let isClosed = condition.withLock {
      if !hasDisconnected && !isComplete { self.action = action }
      return hasDisconnected
    }
    if isClosed { action() }
  }

  private func complete() {
    isComplete = true
    action = nil
    condition.broadcast()
  }
}

extension HTTPResponse {
  /// The values of all headers of this name, whatever its case.
  package func values(_ name: String) -> [String] {
    headers.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
  }
}
