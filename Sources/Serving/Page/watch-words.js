// The texts of the page of `minimind watch` in its three languages.

import { useWords } from "./language.js";

export { browserLanguage, speak, text } from "./language.js";

useWords({
  en: {
    runs: "Runs", language: "Language", over: "Over", smoothing: "Smoothing",
    steps: "optimizer steps", tokens: "tokens read", hours: "hours of training",
    loss: "Loss", bits: "Bits a byte, held out", learningRate: "Learning rate", gradientNorm: "Gradient norm",
    rate: "Tokens a second", memory: "Peak memory, MiB", balance: "Balance loss of the experts",
    busiest: "Share of the busiest expert", evenness: "Evenness of the experts (1: all equal)",
    chosen: "Reward of chosen answers", rejected: "Reward of rejected answers", margin: "Margin of the rewards",
    accuracy: "Chosen before rejected, share", kl: "KL divergence from the reference, nats",
    crossEntropy: "Cross-entropy of the text", divergence: "Divergence from the teacher",
    training: "training", heldOut: "held out", now: "now", at: "at {x}: {values}",
    about: "{name} — {stage} of {model}, step {step} of {total}, {state}", unknown: "{name} — step {step}, {state}",
    running: "running", complete: "complete", stopped: "stopped", separator: ", ",
    endLoss: "loss {value}", endHeldOut: "held-out loss {value}", endMemory: "peak memory {value}",
    experts: "Use of the experts, last step", samples: "Samples", layersByExperts: "{name}: layers by experts",
    expert: "layer {layer}, expert {expert}: {share}%", rowsAndColumns: "{name}: a row a layer, a column an expert",
    silent: "minimind watch does not answer ({error}). Is it still running?",
  },
  zh: {
    runs: "训练记录", language: "语言", over: "横轴", smoothing: "平滑",
    steps: "优化步数", tokens: "已读词元数", hours: "训练时长（小时）",
    loss: "损失", bits: "每字节比特数（验证集）", learningRate: "学习率", gradientNorm: "梯度范数",
    rate: "每秒词元数", memory: "内存峰值（MiB）", balance: "专家均衡损失",
    busiest: "最忙专家的占比", evenness: "专家使用的均匀度（1 为完全均匀）",
    chosen: "被选回答的奖励", rejected: "被拒回答的奖励", margin: "奖励差",
    accuracy: "被选回答优于被拒回答的比例", kl: "与参考模型的 KL 散度（nat）",
    crossEntropy: "文本的交叉熵", divergence: "与教师模型的散度",
    training: "训练", heldOut: "验证", now: "当前", at: "{x} 处：{values}",
    about: "{name} — {stage}，{model}，第 {step} 步（共 {total} 步），{state}", unknown: "{name} — 第 {step} 步，{state}",
    running: "运行中", complete: "已完成", stopped: "已停止", separator: "，",
    endLoss: "损失 {value}", endHeldOut: "验证损失 {value}", endMemory: "内存峰值 {value}",
    experts: "各专家的使用情况（最近一步）", samples: "样例", layersByExperts: "{name}：层 × 专家",
    expert: "第 {layer} 层，专家 {expert}：{share}%", rowsAndColumns: "{name}：每行一层，每列一个专家",
    silent: "minimind watch 没有响应（{error}）。它还在运行吗？",
  },
  ja: {
    runs: "学習の記録", language: "言語", over: "横軸", smoothing: "平滑化",
    steps: "最適化ステップ", tokens: "読んだトークン数", hours: "学習時間（時間）",
    loss: "損失", bits: "1 バイトあたりのビット数（検証）", learningRate: "学習率", gradientNorm: "勾配ノルム",
    rate: "毎秒トークン数", memory: "最大メモリー（MiB）", balance: "エキスパートの均衡損失",
    busiest: "最も使われたエキスパートの割合", evenness: "エキスパート使用の均等さ（1 で完全に均等）",
    chosen: "選ばれた回答の報酬", rejected: "選ばれなかった回答の報酬", margin: "報酬の差",
    accuracy: "選ばれた回答が上回った割合", kl: "参照モデルからの KL ダイバージェンス（nat）",
    crossEntropy: "テキストの交差エントロピー", divergence: "教師モデルとのダイバージェンス",
    training: "学習", heldOut: "検証", now: "現在", at: "{x} の値：{values}",
    about: "{name} — {model} の {stage}、ステップ {step}/{total}、{state}", unknown: "{name} — ステップ {step}、{state}",
    running: "実行中", complete: "完了", stopped: "停止", separator: "、",
    endLoss: "損失 {value}", endHeldOut: "検証損失 {value}", endMemory: "最大メモリー {value}",
    experts: "エキスパートの使用状況（最新のステップ）", samples: "サンプル", layersByExperts: "{name}：層とエキスパート",
    expert: "層 {layer}、エキスパート {expert}：{share}%", rowsAndColumns: "{name}：行は層、列はエキスパート",
    silent: "minimind watch が応答しません（{error}）。まだ動作していますか？",
  },
});
