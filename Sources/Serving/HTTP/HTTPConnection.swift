import CMicroHTTPD
import Foundation
import Synchronization

/// The HTTP library's handle of a daemon or a connection.
///
/// - Unchecked Sendable: a name for something that libmicrohttpd guards itself.
struct LibraryHandle: Hashable, @unchecked Sendable {
  let pointer: OpaquePointer
}

/// A client's connection, on which requests come one after another.
final class HTTPConnection: Sendable {
  private struct State {
    /// When the server gives up on the client; nil while the client waits for an answer.
    var deadline: Double?
    var exchange: HTTPExchange?
  }

  let library: LibraryHandle
  private let descriptor: Int32
  private let state: Mutex<State>

  /// - Parameter deadline: by when the first request must be complete, in seconds of `monotonicSeconds`.
  init(_ library: LibraryHandle, descriptor: Int32, deadline: Double) {
    self.library = library
    self.descriptor = descriptor
    state = Mutex(State(deadline: deadline))
  }

  func setDeadline(_ deadline: Double?) { state.withLock { $0.deadline = deadline } }

  /// The request that is being received or answered.
  var exchange: HTTPExchange? {
    get { state.withLock { $0.exchange } }
    set { state.withLock { $0.exchange = newValue } }
  }

  /// Only for the library's own thread, inside its callbacks.
  func suspend() { MHD_suspend_connection(library.pointer) }
  /// Only for a connection that is suspended; any thread.
  func resume() { MHD_resume_connection(library.pointer) }

  var isClosedByPeer: Bool { minimind_peer_has_closed(descriptor) != 0 }

  /// Closes the connection if its deadline has passed. The server calls it a few times a second, while the socket is open.
  func checkDeadlines(now: Double) {
    let (deadline, exchange) = state.withLock { ($0.deadline, $0.exchange) }
    if let deadline, now > deadline {
      // The library notices and closes the socket later.
      shutdown(descriptor, Int32(SHUT_RDWR))
      exchange?.abandon()
    } else {
      exchange?.checkDeadlines(now: now)
    }
  }
}
