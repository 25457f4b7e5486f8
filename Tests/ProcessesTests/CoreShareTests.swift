import Processes
import Testing

@Suite("Cores of a process")
struct CoreShareTests {
  struct Case: Sendable {
    var machine: Int
    var allowed: Int
    var processes: Int
    var threads: Int
    var isBound = false
  }

  @Test(
    "a process takes its share of the machine, but no more than it is bound to, which is not divided again",
    arguments: [
      Case(machine: 16, allowed: 16, processes: 1, threads: 16),
      Case(machine: 16, allowed: 16, processes: 4, threads: 4),
      Case(machine: 16, allowed: 8, processes: 4, threads: 4),
      Case(machine: 16, allowed: 4, processes: 4, threads: 4),
      Case(machine: 16, allowed: 2, processes: 4, threads: 2, isBound: true),
      Case(machine: 16, allowed: 1, processes: 1, threads: 1, isBound: true),
      // More processes than cores; a list of cores of which some are not there.
      Case(machine: 2, allowed: 2, processes: 5, threads: 1),
      Case(machine: 4, allowed: 128, processes: 1, threads: 4),
    ])
  func threads(_ test: Case) {
    let share = CoreShare(machine: test.machine, allowed: test.allowed, processes: test.processes)
    #expect(share.threads == test.threads && share.isBound == test.isBound)
  }

  @Test(
    "the system's lists of cores are counted",
    arguments: [("0", 1), ("0-3", 4), ("0-3,8", 5), ("2,64-127", 65), ("", 0), ("none", 0), ("3-1", 0)])
  func lists(list: String, count: Int) { #expect(CoreShare.count(inList: list) == (count > 0 ? count : nil)) }

  @Test("the system says on which cores this process may run")
  func own() { #expect(CoreShare.own.threads >= 1 && !CoreShare.own.isBound) }
}
