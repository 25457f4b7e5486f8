/// Every command of the program, in the order of the help page: the order of the work.
package let allCommands: [Command] = [
  tokenizerTrainCommand, tokenizerEncodeCommand, tokenizerDecodeCommand,
  dataPretrainCommand, dataSFTCommand, dataInspectCommand,
  pretrainCommand, sftCommand, loraCommand, mergeCommand,
  generateCommand, chatCommand,
  evalPerplexityCommand, evalChoicesCommand, convertCommand, infoCommand,
  benchTrainCommand, benchPrefillCommand, benchDecodeCommand, benchProductsCommand, benchTokenizerCommand,
]
