// Colours of code: comments, strings, numbers and keywords, found by one expression for each family of languages.

import { element } from "./dom.js";

const number = String.raw`\b(?:0[xX][\da-fA-F_]+|0[bB][01_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)\w*`;
const double = String.raw`"(?:\\[\s\S]|[^"\\\n])*"?`;
const single = String.raw`'(?:\\[\s\S]|[^'\\\n])*'?`;
/// A character in quotes, where a quote alone means something else.
const character = String.raw`'(?:\\[^\n]{1,8}?|[^'\\\n])'`;
const backquoted = String.raw`${"`"}(?:\\[\s\S]|[^${"`"}\\])*${"`"}?`;
const triple = String.raw`"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)`;
const slashes = String.raw`\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)`;
const hash = "#[^\\n]*";
const dashes = String.raw`--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)`;

const common = "if else for while do switch case default break continue return true false null";
const cWords = `${common} auto bool char const double enum extern float goto inline int long register short signed sizeof static struct typedef union unsigned void volatile NULL size_t`;
const scriptWords = `${common} async await catch class const delete export extends finally from function get import in instanceof let new of set static super this throw try typeof undefined var void yield interface type enum implements private public protected readonly namespace as any string number boolean unknown never declare abstract`;

/// Languages, the expression of comments, that of strings, and the keywords.
const families = [
  ["c h cpp c++ cc cxx hpp objc cuda", slashes, `${double}|${single}`,
    `${cWords} class namespace template typename public private protected virtual override new delete this using try catch throw nullptr constexpr operator friend explicit noexcept final include define ifdef ifndef endif pragma`],
  ["js javascript jsx mjs ts typescript tsx node", slashes, `${double}|${single}|${backquoted}`, scriptWords],
  ["java kotlin kt scala groovy c# cs csharp dart", slashes, `${triple}|${double}|${single}`,
    `${common} abstract as async await base boolean byte catch char class companion const data decimal double enum extends final finally float foreach fun get implements import in init instanceof int interface internal is let long namespace new object open operator out override package private protected public readonly record sealed set short static string struct super suspend synchronized this throw throws trait try using val var virtual void when where with yield`],
  ["go golang", slashes, `${double}|${single}|${backquoted}`,
    `${common} chan const defer fallthrough func go goto import interface map package range select struct type var nil string int int64 float64 bool byte rune error`],
  ["rust rs", slashes, `${double}|${character}`,
    "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub ref return self Self static struct super trait true type unsafe use where while i32 i64 u8 u32 u64 usize f32 f64 bool str String Vec Option Result Some None Ok Err"],
  ["swift", slashes, `${triple}|${double}`,
    "actor any as associatedtype async await break case catch class continue default defer deinit do else enum extension fallthrough false fileprivate final for func get guard if import in indirect init inout internal is lazy let mutating nil open operator override package private protocol public repeat rethrows return self Self set some static struct subscript super switch throw throws true try typealias unowned var weak where while Int String Double Float Bool"],
  ["php", `${slashes}|${hash}`, `${double}|${single}`,
    `${common} abstract array as class const echo elseif endif extends final foreach fn function implements include interface isset namespace new private protected public require static string this throw trait try catch use var`],
  ["py python python3 ipython", hash, `${triple}|${double}|${single}`,
    "False None True and as assert async await break class continue def del elif else except finally for from global if import in is lambda match case nonlocal not or pass raise return self try while with yield print int str float list dict set tuple bool range len"],
  ["rb ruby", hash, `${double}|${single}`,
    "alias and begin break case class def do else elsif end ensure false for if in module next nil not or redo require rescue retry return self super then true unless until when while yield puts attr_accessor"],
  ["sh bash zsh shell console", hash, `${double}|'[^']*'?`,
    "if then elif else fi for while until do done case esac in function return break continue local export readonly set unset shift exit echo cd source test"],
  ["r", hash, `${double}|${single}`, "if else for while repeat function return next break TRUE FALSE NULL NA Inf library in"],
  ["yaml yml toml ini dockerfile makefile make conf", hash, `${double}|${single}`,
    "true false null yes no on off FROM RUN COPY CMD ENV WORKDIR EXPOSE ENTRYPOINT ARG"],
  ["sql", dashes, `${single}|${double}`,
    "add all alter and as asc avg between by case check constraint count create cross default delete desc distinct drop else end exists foreign from full group having if in index inner insert int integer into is join key left like limit max min not null offset on or order outer primary references right select set sum table text then union unique update values varchar view when where with"],
  ["lua", String.raw`--\[\[[\s\S]*?(?:\]\]|$)|--[^\n]*`, `${double}|${single}`,
    "and break do else elseif end false for function goto if in local nil not or repeat return then true until while"],
  ["hs haskell elm", String.raw`--[^\n]*|\{-[\s\S]*?(?:-\}|$)`, `${double}|${character}`,
    "case class data deriving do else if import in infix instance let module newtype of then type where"],
  ["html xml svg vue markup", String.raw`<!--[\s\S]*?(?:-->|$)`, `${double}|${single}`, ""],
  ["css scss less", String.raw`\/\*[\s\S]*?(?:\*\/|$)`, `${double}|${single}`, "important media import from to not and"],
  ["json jsonl json5", slashes, double, "true false null"],
  ["tex latex matlab octave", "%[^\\n]*", "(?!)", "begin end function if else elseif for while return section usepackage documentclass"],
];

const languages = new Map();
for (const [names, comment, string, words] of families) {
  const family = {
    pattern: `(?<comment>${comment})|(?<string>${string})|(?<number>${number})|(?<word>[A-Za-z_$][\\w$]*)`,
    keywords: new Set(words.split(" ")), ignoresCase: names === "sql",
  };
  for (const name of names.split(" ")) languages.set(name, family);
}
// In markup the names of elements are the keywords.
languages.get("html").pattern = String.raw`(?<comment><!--[\s\S]*?(?:-->|$))|(?<string>${double})|(?<keyword><\/?[A-Za-z][\w:-]*|\/?>)`;

/// Code of more characters than this stays without colours, so that drawing it takes no time.
const mostCharacters = 100_000;

/// The nodes of a piece of code in a language; without colours where the language is not known.
export function highlighted(code, language) {
  const family = languages.get(language.toLowerCase());
  if (!family || code.length > mostCharacters) return [code];
  const result = [];
  let at = 0;
  for (const match of code.matchAll(new RegExp(family.pattern, "g"))) {
    const kind = kindOf(match, family);
    if (!kind) continue;
    if (match.index > at) result.push(code.slice(at, match.index));
    result.push(element("span", { class: "code-" + kind }, match[0]));
    at = match.index + match[0].length;
  }
  result.push(code.slice(at));
  return result;
}

function kindOf({ groups }, { keywords, ignoresCase }) {
  const word = groups.word && (ignoresCase ? groups.word.toLowerCase() : groups.word);
  if (word) return keywords.has(word) ? "keyword" : null;
  return ["comment", "string", "number", "keyword"].find(kind => groups[kind]) ?? null;
}
