/// Every command of the program, in the order of the help page: the order of the work.
package let allCommands: [Command] = [
  tokenizerTrainCommand, tokenizerEncodeCommand, tokenizerDecodeCommand, tokenizerRenderCommand,
  dataTasksCommand, dataScenesCommand, dataPretrainCommand, dataSFTCommand, dataDPOCommand, dataKTOCommand,
  dataGRPOCommand, dataTeacherCommand,
  dataInspectCommand,
  pretrainCommand, sftCommand, loraCommand, dpoCommand, ktoCommand, rewardCommand, grpoCommand, ppoCommand,
  mergeCommand,
  runsListCommand, runsCompareCommand, watchCommand,
  generateCommand, chatCommand, serveCommand,
  evalPerplexityCommand, evalChoicesCommand, evalTasksCommand, evalPicturesCommand, evalRewardCommand, convertCommand,
  infoCommand,
  benchTrainCommand, benchPlanCommand, benchPrefillCommand, benchDecodeCommand, benchProductsCommand,
  benchTokenizerCommand,
]
