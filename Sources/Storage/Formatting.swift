import Foundation

/// A count for people: "812", "1.23 k", "26.88 M", "1.20 G". Three or four significant digits.
package func formatCount(_ count: Int) -> String { formatCount(Double(count)) }

/// The same of a number from a file, which may be any.
package func formatCount(_ count: Double) -> String { scaled(count, step: 1000, units: ["", "k", "M", "G", "T"]) }

/// Bytes for people, in powers of 1024 with their exact names (IEC 80000-13): "12.30 MiB". Used wherever a size is
/// printed.
package func formatBytes(_ count: Int) -> String { formatBytes(Double(count)) }

/// The same of a number from a file, which may be any.
package func formatBytes(_ count: Double) -> String { scaled(count, step: 1024, units: byteUnits) }

/// The names of 1024 to the power of 0, 1, 2, …: the page writes bytes with the same.
package let byteUnits = ["B", "KiB", "MiB", "GiB", "TiB"]

/// A duration in seconds for people: "0.42s", "8.3s", "4m05s", "2h07m", "3d04h".
package func formatDuration(_ seconds: Double) -> String {
  guard seconds.isFinite, seconds >= 0 else { return "?" }
  if seconds < 1 { return String(format: "%.2fs", seconds) }
  if seconds < 59.95 { return String(format: "%.1fs", seconds) }
  let whole = Int(min(seconds.rounded(), 1e15))
  if whole < 3600 { return String(format: "%dm%02ds", whole / 60, whole % 60) }
  if whole < 86400 { return String(format: "%dh%02dm", whole / 3600, whole % 3600 / 60) }
  return String(format: "%dd%02dh", whole / 86400, whole % 86400 / 3600)
}

/// A number without needless digits: "0.1", "1", "0.0002", "1e-05".
package func formatNumber(_ number: Double) -> String {
  number == number.rounded() && abs(number) < 1e6 ? String(Int(number)) : "\(number)"
}

private func scaled(_ value: Double, step: Double, units: [String]) -> String {
  var value = value
  var unit = 0
  while abs(value) >= step * 0.99995, unit + 1 < units.count {
    value /= step
    unit += 1
  }
  if unit == 0 { return units[0].isEmpty ? "\(Int(value))" : "\(Int(value)) \(units[0])" }
  let digits = abs(value) < 99.995 ? 2 : 1
  return String(format: "%.\(digits)f %@", value, units[unit])
}
