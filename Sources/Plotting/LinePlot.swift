import Foundation
import Storage

/// Lines over two axes, as SVG: one picture without anything outside it, which every browser shows.
package struct LinePlot: Sendable {
  package struct Line: Sendable {
    package var name: String
    /// Points whose y is not finite are left out.
    package var points: [(x: Double, y: Double)]
    /// As SVG writes it: "#1f6fb4".
    package var color: String
    package var width = 2.0
    package var opacity = 1.0
    package var isDashed = false
    /// Whether each point is a circle that shows its numbers in a tooltip.
    package var hasCircles = false

    package init(_ name: String, _ points: [(x: Double, y: Double)], color: String) {
      self.name = name
      self.points = points
      self.color = color
    }
  }

  private static let width = 860.0
  private static let height = 480.0
  private static let left = 64.0
  private static let right = 24.0
  private static let top = 56.0
  private static let bottom = 52.0

  /// Texts at vertical lines.
  package var marks: [(x: Double, name: String)] = []
  private let title: String
  private let xTitle: String
  private let yTitle: String
  private let lines: [Line]
  private let xs: ClosedRange<Double>
  private let ys: ClosedRange<Double>

  /// - Parameters:
  ///   - xs: the range of the horizontal axis, in whole numbers; not empty.
  ///   - lines: drawn one over the other in this order; the vertical axis, never below 0, is scaled to them.
  package init(title: String, xTitle: String, yTitle: String, xs: ClosedRange<Double>, lines: [Line]) {
    self.title = title
    self.xTitle = xTitle
    self.yTitle = yTitle
    self.xs = xs
    self.lines = lines.map { line in
      var line = line
      line.points.removeAll { !$0.y.isFinite }
      return line
    }
    let values = self.lines.flatMap(\.points).map(\.y)
    let (low, high) = (values.min() ?? 0, values.max() ?? 1)
    let margin = max(0.05 * (high - low), 0.01)
    ys = max(0, low - margin)...(high + margin)
  }

  package func svg() -> String {
    """
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" \
    width="\(Int(Self.width))" height="\(Int(Self.height))" font-family="system-ui, sans-serif" font-size="13">
    <rect width="100%" height="100%" fill="#ffffff"/>
    <text x="\(Int(Self.left))" y="26" font-size="16" font-weight="600" fill="#1b1f24">\(escapedForXML(title))</text>
    \(legend())
    \(axes())
    \(marks.map(drawn).joined(separator: "\n"))
    \(lines.map(polyline).joined(separator: "\n"))
    \(lines.filter(\.hasCircles).flatMap { line in line.points.map { circle($0, line) } }.joined(separator: "\n"))
    </svg>

    """
  }

  package func write(to path: String) throws { try AtomicFile.write(svg(), to: path) }

  // MARK: - Parts

  private func legend() -> String {
    var x = Self.left
    return lines.map { line in
      defer { x += 40 + 7.5 * Double(line.name.count) }
      return """
        <line x1="\(number(x))" y1="42" x2="\(number(x + 22))" y2="42" stroke="\(line.color)" stroke-width="3"/>\
        <text x="\(number(x + 28))" y="46" fill="#444c56">\(escapedForXML(line.name))</text>
        """
    }.joined(separator: "\n")
  }

  private func axes() -> String {
    var parts: [String] = []
    let (x0, x1) = (Self.left, Self.width - Self.right)
    let (y0, y1) = (Self.height - Self.bottom, Self.top)
    for tick in Self.ticks(ys) {
      let y = number(position((xs.lowerBound, tick)).y)
      parts.append("<line x1=\"\(x0)\" y1=\"\(y)\" x2=\"\(x1)\" y2=\"\(y)\" stroke=\"#e4e8ec\"/>")
      parts.append(
        "<text x=\"\(x0 - 8)\" y=\"\(y)\" dy=\"4\" text-anchor=\"end\" fill=\"#444c56\">\(label(tick))</text>")
    }
    for tick in Self.ticks(xs) where tick == tick.rounded() {
      let x = number(position((tick, ys.lowerBound)).x)
      parts.append("<line x1=\"\(x)\" y1=\"\(y0)\" x2=\"\(x)\" y2=\"\(y0 + 5)\" stroke=\"#8b949e\"/>")
      parts.append(
        "<text x=\"\(x)\" y=\"\(y0 + 20)\" text-anchor=\"middle\" fill=\"#444c56\">\(label(tick))</text>")
    }
    parts.append("<path d=\"M\(x0) \(y1)V\(y0)H\(x1)\" fill=\"none\" stroke=\"#8b949e\"/>")
    parts.append(
      "<text x=\"\(number((x0 + x1) / 2))\" y=\"\(Self.height - 12)\" text-anchor=\"middle\" fill=\"#1b1f24\">"
        + "\(escapedForXML(xTitle))</text>")
    parts.append(
      "<text transform=\"translate(18 \(number((y0 + y1) / 2))) rotate(-90)\" text-anchor=\"middle\" fill=\"#1b1f24\">"
        + "\(escapedForXML(yTitle))</text>")
    return parts.joined(separator: "\n")
  }

  private func drawn(_ mark: (x: Double, name: String)) -> String {
    let x = position((mark.x, ys.lowerBound)).x
    return """
      <line x1="\(number(x))" y1="\(Self.top)" x2="\(number(x))" y2="\(Self.height - Self.bottom)" stroke="#8b949e" \
      stroke-dasharray="2 3"/>\
      <text x="\(number(x + 6))" y="\(Self.top + 14)" fill="#444c56">\(escapedForXML(mark.name))</text>
      """
  }

  private func polyline(_ line: Line) -> String {
    let places = line.points.map { point in
      let place = position(point)
      return "\(number(place.x)),\(number(place.y))"
    }
    return "<polyline fill=\"none\" stroke-linejoin=\"round\" stroke=\"\(line.color)\" stroke-width=\"\(line.width)\""
      + (line.opacity < 1 ? " opacity=\"\(line.opacity)\"" : "") + (line.isDashed ? " stroke-dasharray=\"4 3\"" : "")
      + " points=\"\(places.joined(separator: " "))\"/>"
  }

  private func circle(_ point: (x: Double, y: Double), _ line: Line) -> String {
    let place = position(point)
    return "<circle cx=\"\(number(place.x))\" cy=\"\(number(place.y))\" r=\"3.5\" fill=\"\(line.color)\">"
      + "<title>\(escapedForXML("\(line.name), \(xTitle) \(Int(point.x))")): \(String(format: "%.4f", point.y))</title>"
      + "</circle>"
  }

  private func position(_ point: (x: Double, y: Double)) -> (x: Double, y: Double) {
    let across = (point.x - xs.lowerBound) / (xs.upperBound - xs.lowerBound)
    let up = (point.y - ys.lowerBound) / (ys.upperBound - ys.lowerBound)
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
}

func escapedForXML(_ text: String) -> String {
  text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
}
