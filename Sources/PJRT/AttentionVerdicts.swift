import Foundation
import Programs
import Synchronization

/// What trials of the kernel of attention have shown, kept where compiled programs are. Before a trial, one that has not ended
/// is written there: a kernel that takes the device or the process down with it does so once.
package final class AttentionVerdicts: Sendable {
  private let cache: ProgramCache?
  private let known = Mutex<[String: AttentionVerdict]>([:])

  /// - Parameter cache: nil to keep them for this process only.
  package init(cache: ProgramCache?) { self.cache = cache }

  /// The verdict of a key, or that of a trial made now.
  ///
  /// - Parameter key: of all that decides what a trial shows.
  package func verdict(_ key: String, trial: () throws -> AttentionVerdict) -> AttentionVerdict {
    if let verdict = known.withLock({ $0[key] }) ?? read(key) {
      known.withLock { $0[key] = verdict }
      return verdict
    }
    let again = cache.map { " (remove \($0.folder)/\(key) to try it again)" } ?? ""
    keep(.fails(reason: "a trial of it did not end\(again)"), key)
    var verdict: AttentionVerdict
    do { verdict = try trial() } catch { verdict = .fails(reason: "\(error)") }
    if case .fails(let reason) = verdict { verdict = .fails(reason: reason + again) }
    keep(verdict, key)
    return verdict
  }

  private func read(_ key: String) -> AttentionVerdict? {
    cache?.read(key).flatMap { try? JSONDecoder().decode(AttentionVerdict.self, from: $0) }
  }

  /// On a full disk the next process makes the trial again.
  private func keep(_ verdict: AttentionVerdict, _ key: String) {
    known.withLock { $0[key] = verdict }
    if let data = try? JSONEncoder().encode(verdict) { try? cache?.write(key, data) }
  }
}
