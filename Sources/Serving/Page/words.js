// The page's texts in its three languages, and the code that puts them into the document.

const words = {
  en: {
    conversations: "Conversations", closeList: "Close the list", newConversation: "New conversation",
    untitled: "New conversation", rename: "Rename", remove: "Delete",
    confirmRemove: "Delete “{title}”? It is kept in this browser only and cannot be brought back.",
    language: "Language", colours: "Colours", themeAuto: "As the system", themeLight: "Light", themeDark: "Dark",
    model: "Model", settings: "Settings", messages: "Messages", ask: "Ask something", send: "Send", stop: "Stop",
    hint: "Enter sends, Shift+Enter begins a new line, Escape stops an answer.",
    you: "You", answer: "Answer", copy: "Copy", copied: "Copied", regenerate: "Again", retry: "Try again",
    system: "System prompt of this conversation", systemHelp: "Stands before the conversation; may be empty.",
    temperature: "Temperature", topP: "Top p", topK: "Top k", minP: "Min p", repetitionPenalty: "Repetition penalty",
    maximumTokens: "Longest answer", seed: "Seed",
    samplingHelp: "An empty field leaves the choice to the server.", defaults: "Empty all", done: "Done",
    apiKey: "API key", apiKeyHelp: "Kept until this tab is closed.",
    keyNeeded: "The server asks for an API key. Enter it under Settings, then try again.",
    unreachable: "The server does not answer. See whether it is running, then try again.",
    brokenOff: "The connection ended before the answer did.",
    badAnswer: "The server answered with status {status} and nothing that this page understands.",
    busy: "The server is busy. Try again in {seconds} s.",
    storageFull: "The browser has no room left for conversations. Delete some; this one will be lost when the page closes.",
    forgotten: "The conversation is longer than the model can read; what came first was left out.",
    stopped: "stopped", cut: "cut off at the longest length",
    speed: "{tokens} tokens · {rate} tokens/s · first after {first}", speedShort: "first after {first}",
    welcome: "What would you like to know?",
    welcomeMore: "A small model answers here, on the computer that serves this page. It knows what its text said, and is often wrong.",
    answering: "The model is answering.", answered: "The answer is complete.",
  },
  zh: {
    conversations: "对话", closeList: "关闭列表", newConversation: "新对话",
    untitled: "新对话", rename: "重命名", remove: "删除",
    confirmRemove: "删除“{title}”？对话只保存在此浏览器中，删除后无法恢复。",
    language: "语言", colours: "外观", themeAuto: "跟随系统", themeLight: "浅色", themeDark: "深色",
    model: "模型", settings: "设置", messages: "消息", ask: "请输入问题", send: "发送", stop: "停止",
    hint: "Enter 发送，Shift+Enter 换行，Esc 停止回答。",
    you: "你", answer: "回答", copy: "复制", copied: "已复制", regenerate: "重新生成", retry: "重试",
    system: "本对话的系统提示", systemHelp: "放在整个对话之前，可以留空。",
    temperature: "温度", topP: "Top p", topK: "Top k", minP: "Min p", repetitionPenalty: "重复惩罚",
    maximumTokens: "最长回答（词元）", seed: "随机种子",
    samplingHelp: "留空则由服务器决定。", defaults: "全部清空", done: "完成",
    apiKey: "API 密钥", apiKeyHelp: "保留到关闭此标签页为止。",
    keyNeeded: "服务器要求 API 密钥。请在“设置”中填写后重试。",
    unreachable: "服务器没有回应。请确认它正在运行，然后重试。",
    brokenOff: "回答尚未结束，连接就中断了。",
    badAnswer: "服务器返回状态 {status}，内容无法识别。",
    busy: "服务器繁忙，请在 {seconds} 秒后重试。",
    storageFull: "浏览器的存储空间已满。请删除一些对话，否则本对话在关闭页面后会丢失。",
    forgotten: "对话超出了模型能读的长度，最早的内容已略去。",
    stopped: "已停止", cut: "达到长度上限而截断",
    speed: "{tokens} 词元 · {rate} 词元/秒 · 首个用时 {first}", speedShort: "首个用时 {first}",
    welcome: "想知道些什么？",
    welcomeMore: "在这里回答的是一个小模型，运行在提供此页面的计算机上。它只知道训练文本中的内容，并且常常出错。",
    answering: "模型正在回答。", answered: "回答完毕。",
  },
  ja: {
    conversations: "会話", closeList: "一覧を閉じる", newConversation: "新しい会話",
    untitled: "新しい会話", rename: "名前を変更", remove: "削除",
    confirmRemove: "「{title}」を削除しますか？会話はこのブラウザーにのみ保存されており、元に戻せません。",
    language: "言語", colours: "表示", themeAuto: "システムに合わせる", themeLight: "ライト", themeDark: "ダーク",
    model: "モデル", settings: "設定", messages: "メッセージ", ask: "質問を入力", send: "送信", stop: "停止",
    hint: "Enter で送信、Shift+Enter で改行、Esc で回答を停止します。",
    you: "あなた", answer: "回答", copy: "コピー", copied: "コピーしました", regenerate: "再生成", retry: "再試行",
    system: "この会話のシステムプロンプト", systemHelp: "会話の前に置かれます。空でもかまいません。",
    temperature: "温度", topP: "Top p", topK: "Top k", minP: "Min p", repetitionPenalty: "繰り返しペナルティ",
    maximumTokens: "最大トークン数", seed: "シード",
    samplingHelp: "空欄の項目はサーバーに任せます。", defaults: "すべて空にする", done: "完了",
    apiKey: "API キー", apiKeyHelp: "このタブを閉じるまで保持されます。",
    keyNeeded: "サーバーが API キーを求めています。「設定」で入力してから再試行してください。",
    unreachable: "サーバーが応答しません。動作しているか確認して、再試行してください。",
    brokenOff: "回答が終わる前に接続が切れました。",
    badAnswer: "サーバーが状態 {status} を返しましたが、内容を解釈できません。",
    busy: "サーバーが混み合っています。{seconds} 秒後に再試行してください。",
    storageFull: "ブラウザーの保存領域がいっぱいです。会話を削除しないと、ページを閉じたときにこの会話は失われます。",
    forgotten: "会話がモデルの読める長さを超えたため、最初の部分を省きました。",
    stopped: "停止しました", cut: "最大の長さで打ち切りました",
    speed: "{tokens} トークン · {rate} トークン/秒 · 最初まで {first}", speedShort: "最初まで {first}",
    welcome: "何を知りたいですか？",
    welcomeMore: "このページを配信しているコンピューター上の小さなモデルが答えます。学習した文章の内容しか知らず、よく間違えます。",
    answering: "モデルが回答しています。", answered: "回答が終わりました。",
  },
};

let language = "en";

/// The language of the browser if the page speaks it, else English.
export function browserLanguage() {
  return navigator.languages.map(tag => tag.slice(0, 2)).find(tag => tag in words) ?? "en";
}

/// The text of that name in the page's language, `{name}` replaced by `values.name`.
export function text(name, values = {}) {
  return words[language][name].replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

/// Switches the language and writes all fixed texts of the document anew.
export function speak(code) {
  language = code in words ? code : "en";
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", text(element.dataset.label));
    if (element.matches("button")) element.title = text(element.dataset.label);
  }
  for (const element of document.querySelectorAll("[data-placeholder]")) {
    element.placeholder = text(element.dataset.placeholder);
  }
}
