import Foundation
import Plotting

/// The losses of a run, by step.
package struct LossHistory: Sendable {
  package var training: [(step: Int, loss: Double)] = []
  package var heldOut: [(step: Int, loss: Double)] = []

  package init() {}
}

/// Draws `loss.svg`.
package struct LossPlot {
  /// Points of a line: more could not be distinguished.
  private static let maximumPoints = 700

  private let plot: LinePlot

  /// - Parameters:
  ///   - lossName: what the other axis shows.
  ///   - totalSteps: where the step axis ends.
  package init(title: String, lossName: String = "loss (nats a token)", history: LossHistory, totalSteps: Int) {
    let raw = history.training.map { (x: Double($0.step), y: $0.loss) }
    var training = LinePlot.Line("training", Self.thinned(raw), color: "#9dc3e6")
    training.width = 1
    training.opacity = 0.75
    let smoothed = LinePlot.Line(
      "training, smoothed", Self.thinned(Self.smoothed(history.training)), color: "#1f6fb4")
    var heldOut = LinePlot.Line("held out", history.heldOut.map { (Double($0.step), $0.loss) }, color: "#d9541e")
    heldOut.width = 1.5
    heldOut.isDashed = true
    heldOut.hasCircles = true
    plot = LinePlot(
      title: title, xTitle: "optimizer step", yTitle: lossName, xs: 0...Double(max(1, totalSteps)),
      lines: [training, smoothed, heldOut])
  }

  package func svg() -> String { plot.svg() }

  package func write(to path: String) throws { try plot.write(to: path) }

  /// The mean of each step and its neighbours: a fortieth of the run to either side, fewer at the beginning, where losses
  /// fall steeply. At the end, where the neighbours on one side are missing, what the straight line says that fits the last
  /// twentieth of the run best: a mean of fewer steps would end in the noise of the last one.
  package static func smoothed(_ losses: [(step: Int, loss: Double)]) -> [(x: Double, y: Double)] {
    let radius = losses.count / 40
    var (sums, moments) = ([0.0], [0.0])
    for (index, (_, loss)) in losses.enumerated() {
      sums.append(sums[index] + loss)
      moments.append(moments[index] + Double(index) * loss)
    }
    return losses.indices.map { index in
      let reach = min(radius, index)
      let size = 2 * reach + 1
      let first = min(index - reach, losses.count - size)
      let centre = first + reach
      let sum = sums[first + size] - sums[first]
      var value = sum / Double(size)
      if index > centre {
        // Least squares: Σ (i - centre)·loss over Σ (i - centre)².
        let slope = (moments[first + size] - moments[first] - Double(centre) * sum) * 12
        value += slope / Double(size * (size * size - 1)) * Double(index - centre)
      }
      return (Double(losses[index].step), value)
    }
  }

  /// At most `maximumPoints` of the points, evenly spread, the last one among them.
  static func thinned(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
    let distance = (points.count + maximumPoints - 1) / maximumPoints
    guard distance > 1 else { return points }
    return points.indices.filter { (points.count - 1 - $0) % distance == 0 }.map { points[$0] }
  }
}
