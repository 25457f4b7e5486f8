import Foundation
import ModelFiles
import Storage
import Vision

/// Prints for each file its pixels, and what a tower sees of them by `config`; or what refuses it.
func printPictures(config: String, files: [String]) throws {
  let processor = try PictureProcessor(preprocessorConfig: config)
  for file in files {
    do {
      let picture = try PictureDecoder().picture(MappedFile.contents(of: file))
      let seen = try processor.values(picture)
      print(
        JSON.object([
          .init("size", .array([.integer(picture.width), .integer(picture.height)])),
          .init("pixels", .string(Data(picture.pixels).base64EncodedString())),
          .init("seen", .array([.integer(seen.width), .integer(seen.height)])),
          .init("values", .string(seen.values.withUnsafeBytes { Data($0) }.base64EncodedString())),
        ]).compactText)
    } catch {
      print(JSON.object([.init("error", .string("\(error)"))]).compactText)
    }
  }
}
