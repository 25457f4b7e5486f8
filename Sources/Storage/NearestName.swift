/// The name among `names` that `word` was most likely meant to be, or nil when none is close.
///
/// Close means an edit distance of at most a third of the word's length, and at least two, or that
/// one is the beginning of the other.
package func nearestName(to word: String, among names: [String]) -> String? {
  let ranked = names.map { (name: $0, distance: editDistance(word, $0)) }
  guard let best = ranked.min(by: { $0.distance < $1.distance }) else { return nil }
  if best.distance <= max(2, word.count / 3), best.distance < word.count { return best.name }
  return word.count >= 3 ? names.first { $0.hasPrefix(word) || word.hasPrefix($0) } : nil
}

/// The number of insertions, deletions, substitutions and swaps of neighbours that turn one text into
/// the other (optimal string alignment).
package func editDistance(_ first: String, _ second: String) -> Int {
  let a = Array(first)
  let b = Array(second)
  var rows = [Array(0...b.count)]
  for i in 0..<a.count {
    var row = [i + 1]
    for j in 0..<b.count {
      var cost = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { cost = min(cost, rows[i - 1][j - 1] + 1) }
      row.append(cost)
    }
    rows.append(row)
  }
  return rows[a.count][b.count]
}
