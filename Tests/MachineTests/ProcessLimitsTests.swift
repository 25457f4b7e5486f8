import Machine
import Testing

@Suite struct ProcessLimitsTests {
  @Test func threadsThatCannotBeStartedAreASentence() throws {
    try ProcessLimits.checkThreads(3)
    // No address space has room for such a stack.
    let error = #expect(throws: ProcessLimitError.self) {
      try ProcessLimits.checkThreads(3, stackSize: 1 << 55)
    }
    #expect(
      error?.description == "only 0 more threads can be started and 3 may be needed. "
        + "Raise the limit (ulimit -u, or that of the container).")
  }
}
