/// Every command of the program, in the order of the help page: the order of the work.
package let allCommands: [Command] = [
  tokenizerTrainCommand, tokenizerEncodeCommand, tokenizerDecodeCommand, tokenizerRenderCommand,
  dataPretrainCommand, dataSFTCommand, dataDPOCommand, dataKTOCommand, dataInspectCommand,
  pretrainCommand, sftCommand, loraCommand, dpoCommand, ktoCommand, rewardCommand, mergeCommand,
  runsListCommand, runsCompareCommand, watchCommand,
  generateCommand, chatCommand, serveCommand,
  evalPerplexityCommand, evalChoicesCommand, evalRewardCommand, convertCommand, infoCommand,
  benchTrainCommand, benchPlanCommand, benchPrefillCommand, benchDecodeCommand, benchProductsCommand,
  benchTokenizerCommand,
]
