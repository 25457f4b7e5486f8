// Markdown inside a line, as DOM nodes.

import { element } from "./dom.js";
import { entity } from "./entities.js";
import { formula } from "./math.js";

const maximumDepth = 8;

const inlineRules = [
  [/^\\\(([\s\S]+?)\\\)/, match => math(match[0], match[1], false)],
  [/^\\\[([\s\S]+?)\\\]/, match => math(match[0], match[1], true)],
  [/^\$\$([\s\S]+?)\$\$/, match => math(match[0], match[1], true)],
  // A dollar before a digit or after a blank ends no formula, and words alone are none: that is money.
  [/^\$(?=[^\s$])(?=[^$\n]*[\\^_{}=+*/<>-]|[^\s$]+\$)((?:\\[\s\S]|[^\\$\n])*?(?:\\[\s\S]|[^\\$\s]))\$(?![\w$])/, match => math(match[0], match[1], false)],
  [/^\\begin\{(\w+\*?)\}[\s\S]*?\\end\{\1\}/, match => math(match[0], match[0], true)],
  // The characters that mean something in Markdown. `\,` and the like belong to a formula, and so does a bracket that begins one.
  [/^\\([\\`*_{}\])#+\-.!|<>~$&])/, match => [match[1]]],
  [/^&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z][a-z\d]{1,30});/i, match => [entity(match[0])]],
  [/^(`+)(?!`)([\s\S]*?[^`])\1(?!`)/, match => [element("code", {}, match[2].replace(/^ (.*) $/s, "$1"))]],
  [/^!?\[((?:[^\[\]\\]|\\.|\[[^\[\]]*\])*)\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*)>?(?:\s+["'(][^\n]*?["')])?\s*\)/,
    (match, depth) => link(match[2], inline(match[1] || match[2], depth + 1), match[0])],
  [/^<(https?:\/\/[^\s<>]+)>/i, match => link(match[1], [match[1]], match[0])],
  [/^https?:\/\/[^\s<>"'`]*[^\s<>"'`.,:;!?()\[\]*_~。，、；：？！）」』】]/i, match => link(match[0], [match[0]], match[0])],
  [/^(\*\*|__)(?=\S)([\s\S]*?\S)\1(?!\w)/, (match, depth) => [element("strong", {}, ...inline(match[2], depth + 1))]],
  [/^~~(?=\S)([\s\S]*?\S)~~/, (match, depth) => [element("s", {}, ...inline(match[1], depth + 1))]],
  [/^\*(?=[^\s*])([\s\S]*?[^\s*])\*(?!\*)/, (match, depth) => [element("em", {}, ...inline(match[1], depth + 1))]],
  [/^_(?=[^\s_])([\s\S]*?[^\s_])_(?!\w)/, (match, depth) => [element("em", {}, ...inline(match[1], depth + 1))]],
  [/^\n/, () => [element("br")]],
];

/// Where a rule may apply: everything before is plain text.
const special = /[\\`![<*_~$&\n]|https?:\/\//i;

export function inline(source, depth = 0) {
  const result = [];
  let plain = "";
  let rest = source;
  while (rest !== "") {
    const next = depth > maximumDepth ? -1 : rest.search(special);
    if (next < 0) { plain += rest; break; }
    plain += rest.slice(0, next);
    rest = rest.slice(next);
    // An underscore inside a word (snake_case) is itself, and so is a dollar (US$).
    const isInWord = (rest[0] === "_" || rest[0] === "$") && /\w$/.test(plain);
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
  return [element("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, ...children)];
}

/// A formula; as it was typed where it is not understood.
function math(typed, source, isDisplay) {
  return [formula(source, isDisplay) ?? element("span", { class: "typed" }, typed)];
}
