import CMPI
import Foundation

/// The processes that `mpirun` or a cluster's scheduler has started, by Open MPI.
///
/// The library is found when the program runs: the program needs it neither to be built nor to run alone, and a run alone
/// does not load it.
package final class MPIProcessGroup: ProcessGroup {
  package let rank: Int
  package let count: Int
  private var requests: [CMRequest?] = []
  /// MPI counts the bytes of a message in 32 bits.
  private static let pieceBytes = 1 << 30

  /// Joins the group. The calling thread is the only one that may use it.
  ///
  /// - Throws: `ProcessError` when the library is missing or another one started the processes.
  package init() throws(ProcessError) {
    if let reason = cmLoad() {
      throw ProcessError(
        "several processes were started with MPI, and Open MPI's library cannot be loaded (\(String(cString: reason))). "
          + "Install it (Debian: openmpi-bin), or start one process.")
    }
    var rank: Int32 = 0
    var count: Int32 = 0
    let status = cmInitialize(&rank, &count)
    guard status == 0 else { throw ProcessError("Open MPI does not start (its error code is \(status)).") }
    (self.rank, self.count) = (Int(rank), Int(count))
  }

  /// Name and version of the library; nil where there is none. Loads it.
  package static var libraryVersion: String? {
    guard cmLoad() == nil else { return nil }
    let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 8192) { buffer in
      cmVersion(buffer.baseAddress!)
      return String(cString: buffer.baseAddress!)
    }
    return text.split(whereSeparator: { $0 == "," || $0.isNewline }).first.map(String.init)
  }

  package func transfer(
    sends: [Message], receives: [Message], pause: (_ missing: () -> [Int]) throws -> Void
  ) rethrows {
    let receives = receives.flatMap { $0.pieces(limit: Self.pieceBytes) }
    let sends = sends.flatMap { $0.pieces(limit: Self.pieceBytes) }
    let total = receives.count + sends.count
    if requests.count < total { requests += [CMRequest?](repeating: nil, count: total - requests.count) }
    try requests.withUnsafeMutableBufferPointer { requests in
      guard let base = requests.baseAddress else { return }
      for (index, message) in receives.enumerated() {
        cmStartReceive(message.bytes, Int32(message.byteCount), Int32(message.peer), base + index)
      }
      for (index, message) in sends.enumerated() {
        cmStartSend(message.bytes, Int32(message.byteCount), Int32(message.peer), base + receives.count + index)
      }
      while cmTestAll(Int32(total), base) == 0 {
        try pause {
          let missing = (receives + sends).enumerated().filter { cmTestAll(1, base + $0.offset) == 0 }
          return Array(Set(missing.map(\.element.peer))).sorted()
        }
      }
    }
  }

  package func abort() -> Never {
    cmAbort(1)
    exit(1)
  }

  package func close() { cmFinalize() }
}

/// What the launcher of this process says of it, in the environment.
package enum Launcher {
  private static func integer(_ name: String) -> Int? { ProcessInfo.processInfo.environment[name].flatMap { Int($0) } }

  /// Whether this process is one of a group by Open MPI or PMIx.
  package static var hasStartedGroup: Bool { rank != nil }

  /// This process's rank before it has joined its group; nil where there is none.
  package static var rank: Int? { integer("OMPI_COMM_WORLD_RANK") ?? integer("PMIX_RANK") }

  /// Processes of the group; nil where the launcher does not say.
  package static var count: Int? { integer("OMPI_COMM_WORLD_SIZE") ?? integer("SLURM_NTASKS") }

  /// Whether this process is one of several.
  package static var hasStartedSeveral: Bool { hasStartedGroup && (count.map { $0 > 1 } ?? (rank != 0)) }

  /// Processes of the group on this machine, as Open MPI's `mpirun` says; nil where it has not started this one.
  package static var localCount: Int? { integer("OMPI_COMM_WORLD_LOCAL_SIZE").map { max(1, $0) } }

  /// This process's place among those.
  package static var localRank: Int? { integer("OMPI_COMM_WORLD_LOCAL_RANK") }
}

/// Why processes cannot work together, in a sentence for the user.
package struct ProcessError: Error, Equatable, Sendable, CustomStringConvertible {
  package let description: String
  package init(_ description: String) { self.description = description }
}
