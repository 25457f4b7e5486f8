// Markdown as DOM nodes. Text becomes text nodes and nothing else: no HTML of a message is ever parsed, so neither a
// model nor the author of its prompt can put markup or scripts into the page.
//
// Of CommonMark: headings, paragraphs, lists, quotations, fenced code, rules, emphasis, code, links, escapes; of GitHub:
// tables, struck text, bare addresses. An image becomes a link to it, since the page asks nothing of other servers.

/// Replaces the content of `element` by `source`, rendered. `copyButton` makes the button of a block of code.
export function render(element, source, copyButton) {
  element.replaceChildren(...blocks(source.replace(/\r\n?/g, "\n").split("\n"), copyButton, 0));
}

function node(name, children = [], attributes = {}) {
  const element = document.createElement(name);
  element.append(...children);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// MARK: Blocks

const maximumDepth = 8;
const fence = /^ {0,3}(`{3,}|~{3,})\s*([^`\s]*)[^`]*$/;
const heading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const rule = /^ {0,3}([-*_])( *\1){2,} *$/;
const quotation = /^ {0,3}> ?/;
const listItem = /^( *)([-*+]|\d{1,9}[.)])(?: +(.*)|)$/;
const tableRule = /^ *\|?( *:?-+:? *\|)+( *:?-+:? *)?\|? *$/;

function blocks(lines, copyButton, depth) {
  const result = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    let match;
    if (line.trim() === "") {
      at++;
    } else if ((match = fence.exec(line))) {
      // A fence that is not closed (yet) reaches to the end.
      const closed = lines.findIndex((other, index) => index > at && isClosing(other, match[1]));
      const end = closed < 0 ? lines.length : closed;
      result.push(codeBlock(lines.slice(at + 1, end).join("\n"), match[2], copyButton));
      at = end + 1;
    } else if ((match = heading.exec(line))) {
      // The page itself has the first rank.
      result.push(node("h" + Math.min(6, match[1].length + 1), inline(match[2])));
      at++;
    } else if (rule.test(line)) {
      result.push(node("hr"));
      at++;
    } else if (quotation.test(line) && depth < maximumDepth) {
      const end = endOf(lines, at, other => quotation.test(other));
      const inner = lines.slice(at, end).map(other => other.replace(quotation, ""));
      result.push(node("blockquote", blocks(inner, copyButton, depth + 1)));
      at = end;
    } else if (listItem.test(line) && depth < maximumDepth) {
      const [list, end] = listAt(lines, at, copyButton, depth);
      result.push(list);
      at = end;
    } else if (line.includes("|") && tableRule.test(lines[at + 1] ?? "")) {
      const end = endOf(lines, at + 2, other => other.includes("|"));
      result.push(table(lines.slice(at, end)));
      at = end;
    } else {
      const end = endOf(lines, at + 1, other => other.trim() !== "" && !beginsBlock(other));
      result.push(node("p", withBreaks(lines.slice(at, end))));
      at = end;
    }
  }
  return result;
}

function isClosing(line, opening) {
  const text = line.trim();
  return text.length >= opening.length && text === opening[0].repeat(text.length);
}

function beginsBlock(line) {
  return [fence, heading, rule, quotation, listItem].some(pattern => pattern.test(line));
}

function endOf(lines, start, belongs) {
  let end = start;
  while (end < lines.length && belongs(lines[end])) end++;
  return end;
}

function codeBlock(code, language, copyButton) {
  const head = node("div", [node("span", [language]), copyButton(code)], { class: "code-head" });
  return node("figure", [head, node("pre", [node("code", [code])], { tabindex: "0" })], { class: "code" });
}

/// A list and the line after it. What is indented below an item belongs to it.
function listAt(lines, start, copyButton, depth) {
  const [, margin, marker] = listItem.exec(lines[start]);
  const isNumbered = /\d/.test(marker);
  const list = node(isNumbered ? "ol" : "ul");
  if (isNumbered && parseInt(marker) !== 1) list.setAttribute("start", parseInt(marker));
  let at = start;
  while (at < lines.length) {
    const match = listItem.exec(lines[at]);
    if (!match || match[1].length > margin.length + 1 || match[1].length < margin.length ||
        /\d/.test(match[2]) !== isNumbered || rule.test(lines[at])) break;
    const indentation = match[1].length + match[2].length + 1;
    const inner = [match[3] ?? ""];
    at++;
    while (at < lines.length) {
      const blank = lines[at].trim() === "";
      const next = blank ? lines[at + 1] : lines[at];
      const isInside = next !== undefined && /^ */.exec(next)[0].length >= Math.min(indentation, match[1].length + 2);
      if (next === undefined || next.trim() === "" || (!isInside && (blank || beginsBlock(next)))) break;
      inner.push(lines[at].replace(new RegExp(`^ {0,${indentation}}`), ""));
      at++;
    }
    const content = blocks(inner, copyButton, depth + 1);
    // An item of one paragraph needs none.
    if (content[0]?.tagName === "P") content.splice(0, 1, ...content[0].childNodes);
    list.append(node("li", content));
    while (lines[at]?.trim() === "" && listItem.test(lines[at + 1] ?? "")) at++;
  }
  return [list, at];
}

function table(lines) {
  const cells = line => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map(cell => cell.trim().replace(/\\\|/g, "|"));
  const alignments = cells(lines[1]).map(cell => cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : "");
  const row = (line, name) => node("tr", cells(line).slice(0, alignments.length).map((cell, column) =>
    node(name, inline(cell), alignments[column] ? { class: alignments[column] } : {})));
  const body = node("tbody", lines.slice(2).map(line => row(line, "td")));
  return node("div", [node("table", [node("thead", [row(lines[0], "th")]), body])], { class: "table", tabindex: "0" });
}

/// The lines of a paragraph; the ends of lines are kept, as in verses.
function withBreaks(lines) {
  return inline(lines.map(line => line.trim()).join("\n"));
}

// MARK: Inside a line

const inlineRules = [
  [/^\\([!-/:-@[-`{-~])/, match => [match[1]]],
  [/^(`+)(?!`)([\s\S]*?[^`])\1(?!`)/, match => [node("code", [match[2].replace(/^ (.*) $/s, "$1")])]],
  [/^!?\[((?:[^\[\]\\]|\\.|\[[^\[\]]*\])*)\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*)>?(?:\s+["'(][^\n]*?["')])?\s*\)/,
    (match, depth) => link(match[2], inline(match[1] || match[2], depth + 1), match[0])],
  [/^<(https?:\/\/[^\s<>]+)>/i, match => link(match[1], [match[1]], match[0])],
  [/^https?:\/\/[^\s<>"'`]*[^\s<>"'`.,:;!?()\[\]*_~。，、；：？！）」』】]/i, match => link(match[0], [match[0]], match[0])],
  [/^(\*\*|__)(?=\S)([\s\S]*?\S)\1(?!\w)/, (match, depth) => [node("strong", inline(match[2], depth + 1))]],
  [/^~~(?=\S)([\s\S]*?\S)~~/, (match, depth) => [node("s", inline(match[1], depth + 1))]],
  [/^\*(?=[^\s*])([\s\S]*?[^\s*])\*(?!\*)/, (match, depth) => [node("em", inline(match[1], depth + 1))]],
  [/^_(?=[^\s_])([\s\S]*?[^\s_])_(?!\w)/, (match, depth) => [node("em", inline(match[1], depth + 1))]],
  [/^\n/, () => [node("br")]],
];

/// Where a rule may apply: everything before is plain text.
const special = /[\\`![<*_~\n]|https?:\/\//i;

function inline(source, depth = 0) {
  const result = [];
  let plain = "";
  let rest = source;
  while (rest !== "") {
    const next = depth > maximumDepth ? -1 : rest.search(special);
    if (next < 0) { plain += rest; break; }
    plain += rest.slice(0, next);
    rest = rest.slice(next);
    // An underscore inside a word (snake_case) is itself.
    const isInWord = rest[0] === "_" && /\w$/.test(plain);
    let match = null;
    const found = isInWord ? null : inlineRules.find(([pattern]) => (match = pattern.exec(rest)));
    if (found) {
      if (plain) result.push(plain);
      plain = "";
      result.push(...found[1](match, depth));
      rest = rest.slice(match[0].length);
    } else {
      plain += rest[0];
      rest = rest.slice(1);
    }
  }
  if (plain) result.push(plain);
  return result;
}

/// A link, for addresses of the web only; anything else (javascript:, data:, file:) stays the text that it was.
function link(address, children, source) {
  let url;
  try { url = new URL(address); } catch { return [source]; }
  if (url.protocol !== "http:" && url.protocol !== "https:") return [source];
  return [node("a", children, { href: url.href, target: "_blank", rel: "noopener noreferrer" })];
}
