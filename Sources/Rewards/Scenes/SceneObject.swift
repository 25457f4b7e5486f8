import Storage

/// A colour that objects of scenes have.
package enum SceneColour: Int, CaseIterable, Sendable {
  case red, green, blue, yellow, purple, orange

  /// In words.
  package func name(_ language: TaskLanguage) -> String {
    switch language {
    case .english: ["red", "green", "blue", "yellow", "purple", "orange"][rawValue]
    case .chinese: ["红色", "绿色", "蓝色", "黄色", "紫色", "橙色"][rawValue]
    }
  }

  /// Red, green, blue.
  package var light: [Double] {
    [[215, 40, 45], [45, 160, 60], [45, 85, 220], [240, 205, 40], [145, 60, 190], [240, 130, 30]][rawValue]
  }
}

/// A shape that objects of scenes have.
package enum SceneShape: Int, CaseIterable, Sendable {
  case circle, square, triangle, star, cross

  /// In words.
  package func name(_ language: TaskLanguage) -> String {
    switch language {
    case .english: ["circle", "square", "triangle", "star", "cross"][rawValue]
    case .chinese: ["圆形", "正方形", "三角形", "五角星", "十字形"][rawValue]
    }
  }

  /// Whether a place is in the shape that fits into the circle of radius 1 around the origin; y goes down.
  func contains(_ x: Double, _ y: Double) -> Bool {
    switch self {
    case .circle: return x * x + y * y <= 0.81
    case .square: return max(abs(x), abs(y)) <= 0.74
    // One corner up.
    case .triangle: return y <= 0.6 && y >= -1 && abs(x) <= (y + 1) * 0.58
    case .cross: return min(abs(x), abs(y)) <= 0.3 && max(abs(x), abs(y)) <= 0.95
    case .star: return Self.isInStar(x, y)
    }
  }

  /// Corners of a star of five points, the outer ones at a distance of 1: numbers, so that every machine has the same.
  private static let starCorners: [(x: Double, y: Double)] = [
    (0, -1), (0.2351, -0.3236), (0.9511, -0.3090), (0.3804, 0.1236), (0.5878, 0.8090), (0, 0.4), (-0.5878, 0.8090),
    (-0.3804, 0.1236), (-0.9511, -0.3090), (-0.2351, -0.3236),
  ]

  /// Whether a line from the place to the right crosses the outline an odd number of times.
  private static func isInStar(_ x: Double, _ y: Double) -> Bool {
    var isInside = false
    var last = starCorners[starCorners.count - 1]
    for corner in starCorners {
      if (corner.y > y) != (last.y > y), x < (last.x - corner.x) * (y - corner.y) / (last.y - corner.y) + corner.x {
        isInside.toggle()
      }
      last = corner
    }
    return isInside
  }
}

/// Where in a picture something is.
package enum SceneQuarter: Int, CaseIterable, Sendable {
  case topLeft, topRight, bottomLeft, bottomRight

  /// In words.
  package func name(_ language: TaskLanguage) -> String {
    switch language {
    case .english: ["top left", "top right", "bottom left", "bottom right"][rawValue]
    case .chinese: ["左上", "右上", "左下", "右下"][rawValue]
    }
  }

  /// The square of the grid of four by four that is the quarter's n-th, from 0 to 3.
  func square(_ place: Int) -> Int { 2 * (rawValue % 2) + place % 2 + 4 * (2 * (rawValue / 2) + place / 2) }
}

/// A coloured shape in a scene. Lengths are parts of the picture's side.
package struct SceneObject: Equatable, Sendable {
  package var colour: SceneColour
  package var shape: SceneShape
  /// The centre, from the left and from the top.
  package var x: Double
  package var y: Double
  /// Of the circle that it fits into.
  package var radius: Double

  /// Somewhere near the middle of a square of the grid, row by row from 0 to 15.
  package init(_ colour: SceneColour, _ shape: SceneShape, inSquare square: Int, _ random: inout SplitMix64) {
    func coordinate(_ index: Int) -> Double { (Double(index) + 0.5) / 4 + 0.03 * (random.nextUniform() - 0.5) }
    self.colour = colour
    self.shape = shape
    x = coordinate(square % 4)
    y = coordinate(square / 4)
    radius = 0.08 + 0.025 * random.nextUniform()
  }

  var quarter: SceneQuarter { SceneQuarter(rawValue: (x < 0.5 ? 0 : 1) + (y < 0.5 ? 0 : 2))! }

  /// The square of the grid that the centre is in, row by row from 0 to 15.
  package var square: Int { Int(x * 4) + 4 * Int(y * 4) }

  /// The square within its quarter, from 0 to 3.
  private var place: Int { Int(x * 4) % 2 + 2 * (Int(y * 4) % 2) }

  /// The object's part in the number that says on which side of the split its scene is: with all others as they are, one of
  /// the four places in its quarter makes the sum a multiple of four. What is mixed in keeps that place from being the same
  /// for all.
  var share: Int {
    var mixed = SplitMix64(seed: UInt64(colour.rawValue + 16 * shape.rawValue + 256 * quarter.rawValue))
    return place + Int(mixed.next() % 4)
  }

  /// In words.
  package func name(_ language: TaskLanguage) -> String {
    switch language {
    case .english: "\(colour.name(language)) \(shape.name(language))"
    case .chinese: "\(colour.name(language))的\(shape.name(language))"
    }
  }
}
