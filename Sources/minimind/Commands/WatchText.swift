import Foundation
import Storage
import Training

/// The state of runs in text: for each a few numbers, and its losses as a plot; of one that cannot be read, why.
///
/// - Parameter isCut: whether lines end at the width, as they must on a terminal.
func watchText(_ paths: [String], width: Int, isCut: Bool) -> String {
  paths.map { path in
    let run: RunHistory
    do { run = try RunHistory(path) } catch {
      return (isCut ? truncated("\(error)", to: width - 1) : "\(error)") + "\n"
    }
    let model = run.record.options.modelName
    let title =
      "\(path)  \(run.record.stage) of \(model)  step \(run.step) of \(run.record.totalSteps)  \(run.state.rawValue)"
    var pairs: [(name: String, value: String)] = []
    for metric in Metric.all where metric.isInWatchText {
      for side in metric.sides {
        if let value = run.value(metric, side) { pairs.append((metric.label(side), metric.text(value))) }
      }
    }
    let (training, heldOut) = (run.values(.loss), run.values(.loss, .eval))
    let line = pairs.map { "\($0.name) \($0.value)" }.joined(separator: "  ")
    let plot = TextPlot(
      lines: [training, heldOut].map { $0.map { (Double($0.step), $0.value) } },
      xs: 0...Double(max(1, run.record.totalSteps)), width: max(20, width - 10), height: 8)
    let head = isCut ? [title, line].map { truncated($0, to: width - 1) } : [title, line]
    return (head + [plot.text]).joined(separator: "\n") + "\n"
  }.joined(separator: "\n")
}

/// Lines drawn with Braille characters, each of two by four dots.
struct TextPlot {
  /// The plot with its axis to the left, each row ended by a newline.
  let text: String

  /// - Parameters:
  ///   - xs: the range of the x axis; that of y follows from the points.
  ///   - width: columns of the plot, without the axis; `height`: its rows.
  init(lines: [[(x: Double, y: Double)]], xs: ClosedRange<Double>, width: Int, height: Int) {
    let values = lines.joined().map(\.y).filter(\.isFinite)
    guard var low = values.min(), var high = values.max() else {
      text = "nothing to draw yet\n"
      return
    }
    if low == high { (low, high) = (low - 0.5, high + 0.5) }
    var dots = [UInt8](repeating: 0, count: width * height)
    // Bits of the dots of a character, column by column from the top (Unicode 15, 21.1).
    let bits: [[UInt8]] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]]
    for line in lines {
      let places = line.filter { $0.y.isFinite && xs.contains($0.x) }.map { x, y in
        (
          column: min(Double(width * 2 - 1), (x - xs.lowerBound) / (xs.upperBound - xs.lowerBound) * Double(width * 2)),
          row: min(Double(height * 4 - 1), (high - y) / (high - low) * Double(height * 4))
        )
      }
      // Each point, and dots on the way from the one before it.
      for (from, to) in zip(places.prefix(1) + places, places) {
        let count = max(1, Int(max(abs(to.column - from.column), abs(to.row - from.row))))
        for step in 1...count {
          let share = Double(step) / Double(count)
          let column = Int(from.column + (to.column - from.column) * share)
          let row = Int(from.row + (to.row - from.row) * share)
          dots[row / 4 * width + column / 2] |= bits[column % 2][row % 4]
        }
      }
    }
    text = (0..<height).map { row in
      let value = high - (high - low) * (Double(row) + 0.5) / Double(height)
      let characters = dots[row * width..<(row + 1) * width].map { Character(Unicode.Scalar(0x2800 + UInt32($0))!) }
      return String(format: "%.3f", value).padded(to: 7, alignedRight: true) + " │" + String(characters) + "\n"
    }.joined()
  }
}
