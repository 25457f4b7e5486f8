import Foundation
import Storage

/// The losses of a run, by step.
package struct LossHistory: Sendable {
  package var training: [(step: Int, loss: Double)] = []
  package var heldOut: [(step: Int, loss: Double)] = []

  package init() {}
}

/// Draws `loss.svg`: one picture without anything outside it, which every browser shows.
package struct LossPlot {
  private static let width = 860.0
  private static let height = 480.0
  private static let left = 64.0
  private static let right = 24.0
  private static let top = 56.0
  private static let bottom = 52.0
  /// Points of a line: more could not be told apart.
  private static let maximumPoints = 700

  private let title: String
  private let history: LossHistory
  private let steps: ClosedRange<Double>
  private let losses: ClosedRange<Double>

  /// - Parameters:
  ///   - totalSteps: where the step axis ends.
  package init(title: String, history: LossHistory, totalSteps: Int) {
    self.title = title
    self.history = history
    steps = 0...Double(max(1, totalSteps))
    let values = (history.training + history.heldOut).map(\.loss).filter(\.isFinite)
    let (low, high) = (values.min() ?? 0, values.max() ?? 1)
    let margin = max(0.05 * (high - low), 0.01)
    losses = max(0, low - margin)...(high + margin)
  }

  package func svg() -> String {
    let raw = Self.thinned(history.training.map { (Double($0.step), $0.loss) })
    let smoothed = Self.thinned(Self.smoothed(history.training))
    let heldOut = history.heldOut.map { (Double($0.step), $0.loss) }
    return """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" \
      width="\(Int(Self.width))" height="\(Int(Self.height))" font-family="system-ui, sans-serif" font-size="13">
      <rect width="100%" height="100%" fill="#ffffff"/>
      <text x="\(Int(Self.left))" y="26" font-size="16" font-weight="600" fill="#1b1f24">\(Self.escaped(title))</text>
      \(legend())
      \(axes())
      \(polyline(raw, "stroke=\"#9dc3e6\" stroke-width=\"1\" opacity=\"0.75\""))
      \(polyline(smoothed, "stroke=\"#1f6fb4\" stroke-width=\"2\""))
      \(polyline(heldOut, "stroke=\"#d9541e\" stroke-width=\"1.5\" stroke-dasharray=\"4 3\""))
      \(heldOut.map { circle($0) }.joined(separator: "\n"))
      </svg>

      """
  }

  package func write(to path: String) throws { try AtomicFile.write(svg(), to: path) }

  // MARK: - Parts

  private func legend() -> String {
    let entries = [("#9dc3e6", "training"), ("#1f6fb4", "training, smoothed"), ("#d9541e", "held out")]
    var x = Self.left
    return entries.map { color, name in
      defer { x += 40 + 7.5 * Double(name.count) }
      return """
        <line x1="\(number(x))" y1="42" x2="\(number(x + 22))" y2="42" stroke="\(color)" stroke-width="3"/>\
        <text x="\(number(x + 28))" y="46" fill="#444c56">\(name)</text>
        """
    }.joined(separator: "\n")
  }

  private func axes() -> String {
    var parts: [String] = []
    let (x0, x1) = (Self.left, Self.width - Self.right)
    let (y0, y1) = (Self.height - Self.bottom, Self.top)
    for tick in Self.ticks(losses) {
      let y = number(position((0, tick)).y)
      parts.append("<line x1=\"\(x0)\" y1=\"\(y)\" x2=\"\(x1)\" y2=\"\(y)\" stroke=\"#e4e8ec\"/>")
      parts.append(
        "<text x=\"\(x0 - 8)\" y=\"\(y)\" dy=\"4\" text-anchor=\"end\" fill=\"#444c56\">\(label(tick))</text>")
    }
    for tick in Self.ticks(steps) where tick == tick.rounded() {
      let x = number(position((tick, losses.lowerBound)).x)
      parts.append("<line x1=\"\(x)\" y1=\"\(y0)\" x2=\"\(x)\" y2=\"\(y0 + 5)\" stroke=\"#8b949e\"/>")
      parts.append(
        "<text x=\"\(x)\" y=\"\(y0 + 20)\" text-anchor=\"middle\" fill=\"#444c56\">\(label(tick))</text>")
    }
    parts.append("<path d=\"M\(x0) \(y1)V\(y0)H\(x1)\" fill=\"none\" stroke=\"#8b949e\"/>")
    parts.append(
      "<text x=\"\(number((x0 + x1) / 2))\" y=\"\(Self.height - 12)\" text-anchor=\"middle\" fill=\"#1b1f24\">"
        + "optimizer step</text>")
    parts.append(
      "<text transform=\"translate(18 \(number((y0 + y1) / 2))) rotate(-90)\" text-anchor=\"middle\" fill=\"#1b1f24\">"
        + "loss (nats a token)</text>")
    return parts.joined(separator: "\n")
  }

  private func polyline(_ points: [(Double, Double)], _ style: String) -> String {
    let places = points.filter { $0.1.isFinite }.map { point in
      let place = position(point)
      return "\(number(place.x)),\(number(place.y))"
    }
    return "<polyline fill=\"none\" stroke-linejoin=\"round\" \(style) points=\"\(places.joined(separator: " "))\"/>"
  }

  private func circle(_ point: (Double, Double)) -> String {
    guard point.1.isFinite else { return "" }
    let place = position(point)
    return "<circle cx=\"\(number(place.x))\" cy=\"\(number(place.y))\" r=\"3.5\" fill=\"#d9541e\">"
      + "<title>step \(Int(point.0)): \(String(format: "%.4f", point.1))</title></circle>"
  }

  private func position(_ point: (Double, Double)) -> (x: Double, y: Double) {
    let across = (point.0 - steps.lowerBound) / (steps.upperBound - steps.lowerBound)
    let up = (point.1 - losses.lowerBound) / (losses.upperBound - losses.lowerBound)
    return (
      Self.left + across * (Self.width - Self.left - Self.right),
      Self.height - Self.bottom - up * (Self.height - Self.top - Self.bottom)
    )
  }

  // MARK: - Numbers

  private func number(_ value: Double) -> String { String(format: "%.1f", value) }

  private func label(_ value: Double) -> String {
    value == value.rounded() ? String(Int(value)) : String(format: "%g", value)
  }

  /// Round numbers within `range`, five to ten of them: multiples of 1, 2 or 5 times a power of ten.
  static func ticks(_ range: ClosedRange<Double>) -> [Double] {
    let span = range.upperBound - range.lowerBound
    guard span > 0 else { return [] }
    let magnitude = pow(10, floor(log10(span / 5)))
    let distance = [1, 2, 5, 10].map { $0 * magnitude }.first { span / $0 <= 8 } ?? 10 * magnitude
    let first = Int((range.lowerBound / distance).rounded(.up))
    let last = Int((range.upperBound / distance).rounded(.down))
    return first > last ? [] : (first...last).map { Double($0) * distance }
  }

  /// The mean of each step and those around it: a fortieth of the run to either side.
  static func smoothed(_ losses: [(step: Int, loss: Double)]) -> [(Double, Double)] {
    let radius = losses.count / 40
    var sums = [0.0]
    for (_, loss) in losses { sums.append(sums.last! + loss) }
    return losses.indices.map { index in
      let reach = min(radius, index, losses.count - 1 - index)
      return (
        Double(losses[index].step), (sums[index + reach + 1] - sums[index - reach]) / Double(2 * reach + 1)
      )
    }
  }

  /// At most `maximumPoints` of the points, evenly spread, the last one among them.
  static func thinned(_ points: [(Double, Double)]) -> [(Double, Double)] {
    let distance = (points.count + maximumPoints - 1) / maximumPoints
    guard distance > 1 else { return points }
    return points.indices.filter { (points.count - 1 - $0) % distance == 0 }.map { points[$0] }
  }

  private static func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
  }
}
