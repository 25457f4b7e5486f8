import Corpus
import Model
import Tokenization
import Vision

/// What the kinds of preparation have in common.
enum PreparationOptions {
  static let inputs = Option.list(
    "input", "FILE", isRequired: true, help: InputCommandOptions.files)
  static let tokenizer = Option.required("tokenizer", "DIR", help: "Directory with tokenizer.json.")
  static let output = Option.required(
    "output", "DIR", help: "Directory for the prepared data; prepared data that is already there is replaced.")
  static let heldOut = Option.number(
    "held-out", default: 0.02, in: 0...0.5,
    help:
      "Share of documents kept from training, to measure it; chosen by their content and the seed.")
  static let deduplicate = Option.flag(
    "deduplicate", help: "Leaves out rows that were there before, to the byte.")
  static let strict = Option.flag(
    "strict", help: "Stops at the first broken row instead of leaving it out.")
  static let firstOptions: [any OptionDescription] = [
    inputs, tokenizer, output, InputCommandOptions.encoding,
  ]
  static let pictureSize = Option.optionalInteger(
    "picture-size", in: 8...1024, defaultText: "pictures are not used",
    help: "Uses the pictures of rows: brings each to N × N pixels, as large as the model's tower sees them.")
  static let pictureTokens = Option.integer(
    "picture-tokens", default: 64, in: 1...4096,
    help: "Tokens that stand for a picture, with --picture-size: as many as the model's projector makes rows of one.")
  static let pictureToken = Option.text(
    "picture-token", "TOKEN", default: "<|image_pad|>",
    help: "The token that stands for them, with --picture-size; it takes the place of <image>.")
  static let images = Option.optional(
    "images", "DIR",
    help: "Where the files of pictures are; otherwise beside the file that names them.")
  static let sight = Option.optional(
    "sight", "MODEL",
    help:
      "Uses the pictures of rows, as this model sees them: in the size, with the processor and with the placeholder of its "
      + "directory. For a model that gets the tower of a CLIP or SigLIP model, the directory of that.")
  static let pictureFeatures: Option<ElementType?> = Option.optionalChoice(
    "picture-features", defaultText: "pixels are kept",
    help:
      "With --sight, keeps what the model's tower makes of each picture in place of its pixels, in this type: training is "
      + "faster, and the tower cannot learn from them.")
  static let pictureOptions: [any OptionDescription] = [
    sight, pictureFeatures, pictureSize, pictureTokens, pictureToken, images,
  ]

  /// What becomes of pictures; nil where they are not used.
  static func pictures(_ invocation: Invocation, _ tokenizer: Tokenizer) throws -> PictureSettings? {
    if invocation[sight] == nil, invocation.isGiven(pictureFeatures) {
      throw UsageError("--\(pictureFeatures.name) is for the tower of a model: give --\(sight.name) as well.")
    }
    if let model = invocation[sight] {
      for option in [pictureSize, pictureTokens, pictureToken] as [any OptionDescription]
      where invocation.isGiven(option) {
        throw UsageError("--\(option.name) is what --\(sight.name) says of the model. Leave one of them out.")
      }
      return try pictureSettings(
        ofModel: model, tokenizer, invocation[self.tokenizer], features: invocation[pictureFeatures],
        directory: invocation[images], threads: threadCount(invocation))
    }
    guard let side = invocation[pictureSize] else {
      for option in pictureOptions where invocation.isGiven(option) {
        throw UsageError(
          "--\(option.name) is for data with pictures: give --\(sight.name) or --\(pictureSize.name) as well.")
      }
      return nil
    }
    let name = invocation[pictureToken]
    let tokens = try tokenizer.encode(name, specialTokens: .parsed)
    guard tokens.count == 1, let token = tokens.first else {
      throw UsageError(
        "--\(pictureToken.name): \"\(printable(name))\" is no token of the tokenizer but \(tokens.count). Name one that "
          + "texts hardly use, such as @.")
    }
    // As SigLIP's processor does by default.
    var processor = PictureProcessor()
    processor.size = .exact(width: side, height: side)
    processor.rescaling = 1.0 / 255
    (processor.mean, processor.deviation) = ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5])
    return PictureSettings(
      processor: processor, side: side,
      placeholder: [Int32](repeating: token, count: invocation[pictureTokens]), directory: invocation[images])
  }

  static let lastOptions: [any OptionDescription] = [
    deduplicate, heldOut, Option.seed, strict, Option.threads, Option.exchangeTimeout,
  ]
}
