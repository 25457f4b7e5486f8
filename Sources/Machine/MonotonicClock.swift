import Foundation

/// Nanoseconds of a clock that only goes forward.
package func monotonicNanoseconds() -> UInt64 {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Seconds of a clock that only goes forward.
package func monotonicSeconds() -> Double { Double(monotonicNanoseconds()) * 1e-9 }
