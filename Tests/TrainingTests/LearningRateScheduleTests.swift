import Testing
import Training

@Suite("Learning rate")
struct LearningRateScheduleTests {
  private func rates(_ shape: LearningRateSchedule.Shape, warmup: Int = 10, total: Int = 100) -> [Double] {
    let schedule = LearningRateSchedule(shape: shape, peak: 1, warmupSteps: warmup, totalSteps: total)
    return (1...total).map(schedule.rate(step:))
  }

  private func isClose(_ a: Double, _ b: Double) -> Bool { abs(a - b) < 1e-12 }

  @Test(
    "rises in a straight line and is at its peak in the last step of the warm-up",
    arguments: [
      LearningRateSchedule.Shape.cosine, .warmupStableDecay, .constant,
    ])
  func warmup(_ shape: LearningRateSchedule.Shape) {
    let rates = rates(shape)
    for step in 1...10 { #expect(isClose(rates[step - 1], Double(step) / 10)) }
    #expect(rates.max() == rates[9])
  }

  @Test("cosine: halfway at the middle, a tenth in the last step, never rising")
  func cosine() {
    let rates = rates(.cosine)
    #expect(isClose(rates[54], 0.55))
    #expect(isClose(rates[99], 0.1))
    #expect(zip(rates[9...], rates[10...]).allSatisfy { $0 >= $1 })
  }

  @Test("wsd: the peak up to the last fifth, then straight down to a tenth")
  func warmupStableDecay() {
    let rates = rates(.warmupStableDecay)
    #expect(rates[9..<80].allSatisfy { $0 == 1 })
    #expect(isClose(rates[89], 0.55))
    #expect(isClose(rates[99], 0.1))
  }

  @Test("constant stays")
  func constant() { #expect(rates(.constant)[9...].allSatisfy { $0 == 1 }) }

  @Test(
    "runs of one step, and runs that are all warm-up, have finite rates", arguments: [(0, 1), (1, 1), (5, 5), (3, 2)])
  func degenerate(warmup: Int, total: Int) {
    for shape in LearningRateSchedule.Shape.allCases {
      #expect(rates(shape, warmup: warmup, total: total).allSatisfy { $0.isFinite && $0 > 0 && $0 <= 1 })
    }
  }
}
