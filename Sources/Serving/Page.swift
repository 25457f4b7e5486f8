/// The web page, whose files are part of the program: nothing is read from the disk when it is served.
package enum Page {
  /// The one policy for all files: everything from this server, nothing inline, and no other page may frame this one.
  package static let contentSecurityPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

  /// The file for the path of a request, `/` being the page itself; nil when there is none.
  package static func file(_ path: String) -> (bytes: [UInt8], contentType: String)? {
    files[path]
  }

  private static let files: [String: (bytes: [UInt8], contentType: String)] = [
    "/": (PackageResources.index_html, "text/html; charset=utf-8"),
    "/base.css": (PackageResources.base_css, "text/css; charset=utf-8"),
    "/chat.css": (PackageResources.chat_css, "text/css; charset=utf-8"),
    "/chat.js": (PackageResources.chat_js, script),
    "/client.js": (PackageResources.client_js, script),
    "/icon.svg": (PackageResources.icon_svg, "image/svg+xml"),
    "/language.js": (PackageResources.language_js, script),
    "/markdown.js": (PackageResources.markdown_js, script),
    "/messages.js": (PackageResources.messages_js, script),
    "/settings.js": (PackageResources.settings_js, script),
    "/sidebar.js": (PackageResources.sidebar_js, script),
    "/store.js": (PackageResources.store_js, script),
    "/words.js": (PackageResources.words_js, script),
  ]
  private static let script = "text/javascript; charset=utf-8"
}
