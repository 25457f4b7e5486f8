import CMicroHTTPD
import Foundation
import Machine
import Synchronization

/// Receives requests and hands each to one function. One thread receives and sends for all connections; another checks
/// for clients that have gone, are slow or silent.
package final class HTTPServer: Sendable {
  package typealias Handler = @Sendable (Result<HTTPRequest, HTTPRefusal>, any ResponseSink) -> Void

  package let limits: HTTPLimits
  /// Where the server listens, as part of a URL.
  package let address: String
  /// Called on the receiving thread with every complete request; it answers now or later.
  private let handler: Handler
  private let connections = Mutex<[LibraryHandle: HTTPConnection]>([:])
  private let bodyBytes = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)
  private let daemon = Mutex<LibraryHandle?>(nil)

  /// Starts to serve.
  ///
  /// - Throws: `ServingError`.
  package init(
    host: String, port: Int, limits: HTTPLimits = HTTPLimits(), handler: @escaping Handler
  ) throws(ServingError) {
    let socket = try ListeningSocket(host: host, port: port)
    self.limits = limits
    self.handler = handler
    address = socket.address
    let context = Unmanaged.passUnretained(self).toOpaque()
    let started = minimind_http_start(
      socket.descriptor, UInt32(limits.connections), limits.connectionMemory, context, onRequest, onCompleted,
      onConnection)
    guard let started else {
      Foundation.close(socket.descriptor)
      throw ServingError("cannot start the HTTP server: \(String(cString: strerror(errno))).")
    }
    let handle = LibraryHandle(pointer: started)
    daemon.withLock { $0 = handle }
    let thread = Thread { [weak self] in
      while let self, !self.isStopping {
        self.checkDeadlines()
        usleep(200_000)
      }
    }
    thread.start()
  }

  var isStopping: Bool { stopping.load(ordering: .acquiring) }

  /// Accepts no new connections. Open ones continue.
  package func stopListening() {
    daemon.withLock { daemon in
      guard let daemon else { return }
      let descriptor = MHD_quiesce_daemon(daemon.pointer)
      if descriptor >= 0 { Foundation.close(descriptor) }
    }
  }

  /// Closes all connections. Must be called before the server is released: the HTTP library refers to it.
  ///
  /// - Parameter seconds: how long clients may take to read answers that are complete.
  package func stop(waitingFor seconds: Double) {
    stopListening()
    let end = monotonicSeconds() + seconds
    while monotonicSeconds() < end, connections.withLock({ $0.values.contains { $0.exchange != nil } }) {
      usleep(10_000)
    }
    stopping.store(true, ordering: .releasing)
    // The library must have no suspended connection when it stops; from here on none will be suspended.
    for connection in connections.withLock({ Array($0.values) }) { connection.exchange?.abandon() }
    let running = daemon.withLock { daemon in
      defer { daemon = nil }
      return daemon
    }
    if let running { MHD_stop_daemon(running.pointer) }
  }

  private func checkDeadlines() {
    let now = monotonicSeconds()
    // The lock keeps the sockets open: the library says here that it closes one, before it does.
    connections.withLock { for connection in $0.values { connection.checkDeadlines(now: now) } }
  }

  /// Counts bytes of a body towards the limit of all bodies; false if they exceed it.
  func reserve(_ count: Int) -> Bool {
    let total = bodyBytes.add(count, ordering: .relaxed).newValue
    if total <= limits.allBodies { return true }
    release(count)
    return false
  }

  func release(_ count: Int) { bodyBytes.subtract(count, ordering: .relaxed) }

  // MARK: - Called by the library

  fileprivate func open(_ library: LibraryHandle) {
    let connection = HTTPConnection(
      library, descriptor: minimind_http_socket(library.pointer), deadline: monotonicSeconds() + limits.patience)
    connections.withLock { $0[library] = connection }
  }

  fileprivate func close(_ library: LibraryHandle) {
    connections.withLock { _ = $0.removeValue(forKey: library) }
  }

  /// A request's line and headers are complete.
  fileprivate func begin(_ library: LibraryHandle, method: String, path: String) -> HTTPExchange? {
    guard let connection = connections.withLock({ $0[library] }) else { return nil }
    var headers = HTTPHeaders()
    withUnsafeMutablePointer(to: &headers) { headers in
      _ = MHD_get_connection_values(
        library.pointer, .HEADER_KIND,
        { headers, _, name, value in
          guard let headers, let name else { return .YES }
          headers.assumingMemoryBound(to: HTTPHeaders.self).pointee.add(
            String(cString: name), value.map { String(cString: $0) } ?? "")
          return .YES
        }, headers)
    }
    let first = Dictionary(headers.list.map { ($0.name, $0.value) }) { first, _ in first }
    let exchange = HTTPExchange(
      HTTPRequest(method: method, path: path, headers: first), connection, self,
      refusal: headers.ambiguity.map { .ambiguous($0) })
    connection.exchange = exchange
    return exchange
  }

  /// The request is complete, or its connection was woken.
  fileprivate func proceed(_ exchange: HTTPExchange) -> MHD_Result {
    if let request = exchange.popRequest() {
      exchange.connection.setDeadline(nil)
      handler(request, exchange)
    }
    return exchange.deliver()
  }

  fileprivate func finish(_ exchange: HTTPExchange) {
    exchange.finish()
    exchange.connection.exchange = nil
    exchange.connection.setDeadline(monotonicSeconds() + limits.patience)
  }
}

/// The server that the library was started for. It lives as long as the library runs.
private func server(_ context: UnsafeMutableRawPointer?) -> HTTPServer? {
  context.map { Unmanaged<HTTPServer>.fromOpaque($0).takeUnretainedValue() }
}

private let onConnection: MHD_NotifyConnectionCallback = { context, library, _, event in
  guard let server = server(context), let library = library.map(LibraryHandle.init) else { return }
  if event == .CONNECTION_NOTIFY_STARTED { server.open(library) } else { server.close(library) }
}

/// Called when the headers are complete, for each piece of the body, at its end, and whenever the connection is woken
/// before an answer is queued. The last parameter keeps our exchange from call to call.
private let onRequest: MHD_AccessHandlerCallback = { context, library, url, method, _, data, size, kept in
  guard let server = server(context), let library = library.map(LibraryHandle.init), let url, let method, let size,
    let kept
  else { return .NO }
  guard let pointer = kept.pointee else {
    guard let exchange = server.begin(library, method: String(cString: method), path: String(cString: url)) else {
      return .NO
    }
    kept.pointee = Unmanaged.passRetained(exchange).toOpaque()
    // The body of a request that is refused is not read; the library closes the connection after the answer.
    return exchange.isRefused ? server.proceed(exchange) : .YES
  }
  let exchange = Unmanaged<HTTPExchange>.fromOpaque(pointer).takeUnretainedValue()
  guard size.pointee > 0 else { return server.proceed(exchange) }
  let isWelcome = exchange.receive(UnsafeRawBufferPointer(start: data, count: size.pointee))
  size.pointee = 0
  return isWelcome ? .YES : .NO
}

private let onCompleted: MHD_RequestCompletedCallback = { context, _, kept, _ in
  guard let server = server(context), let pointer = kept?.pointee else { return }
  kept?.pointee = nil
  server.finish(Unmanaged<HTTPExchange>.fromOpaque(pointer).takeRetainedValue())
}
