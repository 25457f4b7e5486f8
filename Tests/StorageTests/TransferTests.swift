import Foundation
import Storage
import Testing

@Suite("Moving all bytes of a call that moves some")
struct TransferTests {
  @Test("goes on after a part and after a signal, and says where it began each time")
  func parts() {
    var answers = [3, -1, 2, 5]
    var begun: [Int] = []
    let isDone = transfer(10) { done in
      begun.append(done)
      let moved = answers.removeFirst()
      if moved < 0 { errno = EINTR }
      return moved
    }
    #expect(isDone && begun == [0, 3, 3, 5] && answers.isEmpty)
    #expect(transfer(0) { _ in -1 })
  }

  @Test("ends with the reason of a failure, and without one at the end of what is there")
  func failures() {
    var calls = 0
    let isDone = transfer(10) { done in
      calls += 1
      errno = EIO
      return done == 0 ? 4 : -1
    }
    #expect(!isDone && errno == EIO && calls == 2)
    errno = EINTR
    let isRead = transfer(10) { done in done == 0 ? 4 : 0 }
    #expect(!isRead && errno == 0)
  }
}
