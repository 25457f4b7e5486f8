/// The page of `minimind watch`, embedded like the chat's.
package enum WatchPage {
  /// The file for the path of a request; nil when there is none.
  package static func file(_ path: String) -> (bytes: [UInt8], contentType: String)? {
    switch path {
    case "/": (PackageResources.watch_html, "text/html; charset=utf-8")
    case "/watch.css": (PackageResources.watch_css, "text/css; charset=utf-8")
    case "/watch.js": (PackageResources.watch_js, "text/javascript; charset=utf-8")
    case "/chart.js": (PackageResources.chart_js, "text/javascript; charset=utf-8")
    case "/watch-words.js": (PackageResources.watch_words_js, "text/javascript; charset=utf-8")
    case "/base.css", "/icon.svg", "/language.js", "/store.js": Page.file(path)
    default: nil
    }
  }
}
