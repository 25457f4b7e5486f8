import Compute

/// The part of a step's rows, and of each product's columns, that a worker computes. Nothing in the result depends on
/// how work is shared out.
struct StepShare {
  let worker: Int
  let rows: Range<Int>
  private let team: WorkerTeam
  private let splitsRows: Bool

  init(_ team: WorkerTeam, worker: Int, rowCount: Int) {
    self.team = team
    self.worker = worker
    // Many rows keep the processor busy with arithmetic, and each worker takes some of them. Few wait for the weights, so
    // that each worker takes some of those.
    splitsRows = rowCount >= 32 * team.count
    rows = splitsRows ? team.share(of: rowCount, worker: worker, multiple: 8) : 0..<rowCount
  }

  /// The worker's columns of a product that has `total` columns.
  func columns(of total: Int) -> Range<Int> {
    if splitsRows { return 0..<total }
    let columns = team.share(of: total, worker: worker, multiple: WeightType.tileRows)
    return columns.isEmpty ? 0..<0 : columns
  }

  /// The worker's rows where every row is to be taken by one worker only.
  func ownRows(of total: Int) -> Range<Int> { splitsRows ? rows : team.share(of: total, worker: worker) }

  /// The worker's rows in parts, with their number.
  func forEachPart(_ body: (_ index: Int, _ rows: Range<Int>) -> Void) {
    for (index, start) in stride(from: rows.lowerBound, to: rows.upperBound, by: StepMemory.partRows).enumerated() {
      body(index, start..<min(rows.upperBound, start + StepMemory.partRows))
    }
  }
}
