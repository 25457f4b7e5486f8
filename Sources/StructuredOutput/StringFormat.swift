import Synchronization

/// The values of `format` that strings keep to, each as a regular expression.
///
/// Each has texts of its format only, and the usual ones of them; what is rare may be missing.
enum StringFormat {
  /// Formats of the draft that are no regular language, or not one that a model could write.
  static let unsupported: Set = ["regex", "uri-template"]

  private static let known = Mutex<[String: Automaton]>([:])

  /// The automaton of a format's texts, inside a JSON string; nil for a format that this draft does not define, which says
  /// nothing about the text (section 7.2.3 of the draft).
  static func automaton(_ name: String) -> Automaton? {
    guard let pattern = patterns[name] else { return nil }
    return known.withLock { known in
      if let found = known[name] { return found }
      // The patterns are ours, so neither can fail.
      var budget = CompilationBudget()
      let found = try! Automaton(try! RegularExpression(pattern), .jsonString, &budget)
      known[name] = found
      return found
    }
  }

  static let patterns: [String: String] = {
    // RFC 3339, without leap seconds; years from 1 on, as most calendars in programs have them.
    let year = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
    let fours = "(?:0[48]|[2468][048]|[13579][26])"
    let date =
      "(?:\(year)-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
      + "|02-(?:0[1-9]|1[0-9]|2[0-8]))|(?:[0-9]{2}\(fours)|\(fours)00)-02-29)"
    let time =
      "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
    // RFC 3339, appendix A.
    let number = "[0-9]{1,6}"
    let minutes = "\(number)M(?:\(number)S)?"
    let duration =
      "P(?:(?:\(number)D|\(number)M(?:\(number)D)?|\(number)Y(?:\(number)M(?:\(number)D)?)?)?"
      + "(?:T(?:\(number)H(?:\(minutes))?|\(minutes)|\(number)S))|"
      + "(?:\(number)D|\(number)M(?:\(number)D)?|\(number)Y(?:\(number)M(?:\(number)D)?)?)|\(number)W)"
    // RFC 1123, at most 251 characters.
    let label = "[A-Za-z0-9](?:-?[A-Za-z0-9]){0,20}"
    let hostname = "\(label)(?:\\.\(label)){0,5}"
    // RFC 5321, a Dot-string of at most 63 characters.
    let atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
    let email = "\(atom)(?:\\.?\(atom)){0,31}@(?:\(label)\\.){1,4}[A-Za-z]{2,20}"
    let byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
    let group = "[0-9A-Fa-f]{1,4}"
    let ipv6 =
      (["(?:\(group):){7}\(group)", "(?:\(group):){1,7}:"]
      + (1...6).map { "(?:\(group):){1,\(7 - $0)}(?::\(group)){1,\($0)}" } + [":(?:(?::\(group)){1,7}|:)"])
      .joined(separator: "|")
    // RFC 3986, with a name or an IPv4 address for a host.
    let encoded = "%[0-9A-Fa-f]{2}"
    let character = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|\(encoded))"
    let authority = "(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|\(encoded))*@)?[A-Za-z0-9.-]+(?::[0-9]{1,5})?"
    let rest = "(?:\\?(?:\(character)|[/?])*)?(?:#(?:\(character)|[/?])*)?"
    let uri = "[A-Za-z][A-Za-z0-9+.-]*:(?://\(authority)(?:/\(character)*)*|/?\(character)+(?:/\(character)*)*)\(rest)"
    let relative =
      "(?://\(authority)(?:/\(character)*)*|/(?:\(character)+(?:/\(character)*)*)?"
      + "|(?:[A-Za-z0-9._~!$&'()*+,;=@-]|\(encoded))+(?:/\(character)*)*)?\(rest)"
    let pointer = "(?:/(?:[^/~]|~[01])*)*"
    let formats = [
      "date": date, "time": time, "date-time": "\(date)T\(time)", "duration": duration, "email": email,
      "hostname": hostname, "ipv4": "\(byte)(?:\\.\(byte)){3}", "ipv6": ipv6, "uri": uri,
      "uri-reference": "\(uri)|\(relative)",
      "uuid": "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
      "json-pointer": pointer, "relative-json-pointer": "(?:0|[1-9][0-9]{0,8})(?:#|(?:/(?:[^/~]|~[01])*)+)",
    ]
    // Those for other alphabets hold their texts of ASCII.
    let wider = ["idn-email": "email", "idn-hostname": "hostname", "iri": "uri", "iri-reference": "uri-reference"]
    return formats.merging(wider.mapValues { formats[$0]! }) { first, _ in first }
  }()
}
