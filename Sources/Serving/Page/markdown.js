// Markdown as DOM nodes. Text becomes text nodes and nothing else: no HTML of a message is ever parsed, so neither a
// model nor the author of its prompt can put markup or scripts into the page.
//
// Of CommonMark: headings, paragraphs, lists, quotations, fenced code, rules, emphasis, code, links, escapes, entities; of
// GitHub: tables, struck text, bare addresses; and formulas (math.js). An image becomes a link to it, since the page asks
// nothing of other servers.

import { element } from "./dom.js";
import { highlighted } from "./highlight.js";
import { inline } from "./inline.js";

/// Replaces the content of `place` by `source`, rendered. `copyButton` makes the button of a block of code.
export function render(place, source, copyButton) {
  place.replaceChildren(...blocks(source.replace(/\r\n?/g, "\n").split("\n"), copyButton, 0));
  // The page itself has the first rank; those of the message follow it without a gap, whichever it begins with.
  const headings = [...place.querySelectorAll("h1, h2, h3, h4, h5, h6")];
  const ranks = [...new Set(headings.map(({ localName }) => localName))].sort();
  for (const heading of headings) {
    heading.replaceWith(node("h" + Math.min(6, 2 + ranks.indexOf(heading.localName)), [...heading.childNodes]));
  }
}

function node(name, children = [], attributes = {}) { return element(name, attributes, ...children); }

// MARK: Blocks

const maximumDepth = 8;
const fence = /^ {0,3}(`{3,}|~{3,})\s*([^`\s]*)[^`]*$/;
const heading = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const rule = /^ {0,3}([-*_])( *\1){2,} *$/;
const quotation = /^ {0,3}> ?/;
const listItem = /^( *)([-*+]|\d{1,9}[.)])(?: +(.*)|)$/;
const formulaStart = /^ {0,3}(\\\[|\$\$|\\begin\{(\w+\*?)\})/;
const tableRule = /^ *\|?( *:?-+:? *\|)+( *:?-+:? *)?\|? *$/;

function blocks(lines, copyButton, depth) {
  const result = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    let match, end;
    if (line.trim() === "") {
      at++;
    } else if ((match = fence.exec(line))) {
      // A fence that is not closed (yet) reaches to the end.
      const closed = lines.findIndex((other, index) => index > at && isClosing(other, match[1]));
      end = closed < 0 ? lines.length : closed;
      result.push(codeBlock(lines.slice(at + 1, end).join("\n"), match[2], copyButton));
      at = end + 1;
    } else if ((match = heading.exec(line))) {
      result.push(node("h" + match[1].length, inline(match[2])));
      at++;
    } else if (rule.test(line)) {
      result.push(node("hr"));
      at++;
    } else if (quotation.test(line) && depth < maximumDepth) {
      end = endOf(lines, at, other => quotation.test(other));
      const inner = lines.slice(at, end).map(other => other.replace(quotation, ""));
      result.push(node("blockquote", blocks(inner, copyButton, depth + 1)));
      at = end;
    } else if (listItem.test(line) && depth < maximumDepth) {
      const [list, after] = listAt(lines, at, copyButton, depth);
      result.push(list);
      at = after;
    } else if ((match = formulaStart.exec(line)) && (end = endOfFormula(lines, at, match)) > at) {
      // Whatever begins a line of it: a minus is no list here.
      result.push(node("p", inline(lines.slice(at, end).join("\n"))));
      at = end;
    } else if (line.includes("|") && tableRule.test(lines[at + 1] ?? "")) {
      end = endOf(lines, at + 2, other => other.includes("|"));
      result.push(table(lines.slice(at, end)));
      at = end;
    } else {
      end = endOf(lines, at + 1, other => other.trim() !== "" && !beginsBlock(other));
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
  return [fence, heading, rule, quotation, listItem, formulaStart].some(pattern => pattern.test(line));
}

function endOf(lines, start, belongs) {
  let end = start;
  while (end < lines.length && belongs(lines[end])) end++;
  return end;
}

/// The line after a formula; `start` where it does not end, or not alone on its lines.
function endOfFormula(lines, start, [opening, delimiter, name]) {
  const closing = name ? `\\end{${name}}` : delimiter === "$$" ? "$$" : "\\]";
  for (let at = start, from = opening.length; at < lines.length; at++, from = 0) {
    const found = lines[at].indexOf(closing, from);
    if (found >= 0) return lines[at].slice(found + closing.length).trim() === "" ? at + 1 : start;
  }
  return start;
}

function codeBlock(code, language, copyButton) {
  const head = node("div", [node("span", [language]), copyButton(code)], { class: "code-head" });
  return node("figure", [head, node("pre", [node("code", highlighted(code, language))], { tabindex: "0" })], { class: "code" });
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
