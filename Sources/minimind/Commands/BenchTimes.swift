import Machine

/// The time that `body` takes.
func measuredSeconds(_ body: () throws -> Void) rethrows -> Double {
  let start = monotonicSeconds()
  try body()
  return monotonicSeconds() - start
}

/// The median time of `body` over `runs` runs after one that does not count.
func medianSeconds(runs: Int = 7, _ body: () throws -> Void) rethrows -> Double {
  try body()
  var times: [Double] = []
  for _ in 0..<runs { times.append(try measuredSeconds(body)) }
  return median(times)
}

/// The middle one of `values`, of an even count the upper of the two.
func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
