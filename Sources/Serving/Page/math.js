// Formulas: a small part of TeX as MathML, which browsers draw themselves. The elements are built one by one; nothing of a
// formula is ever parsed as markup.

import * as symbols from "./math-symbols.js";

/// What is longer, or nested deeper, stays as it was typed.
const mostCharacters = 4000, mostDepth = 100;

class NotUnderstood extends Error {}

/// A `math` element; null where the formula holds something that is not understood here.
export function formula(source, isDisplay) {
  if (source.length > mostCharacters || source.trim() === "") return null;
  try {
    const content = new Parser(source, isDisplay).all();
    return node("math", [content], { ...(isDisplay ? { display: "block" } : {}), alttext: source.trim() });
  } catch (error) {
    if (error instanceof NotUnderstood) return null;
    throw error;
  }
}

function node(name, children = [], attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/1998/Math/MathML", name);
  element.append(...children);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

const row = children => children.length === 1 ? children[0] : node("mrow", children);
const operator = (sign, attributes = {}) => node("mo", [sign], attributes);
const fence = sign => operator(sign, { fence: "true", stretchy: "true" });
const space = width => node("mspace", [], { width: `${width}em` });

/// The signs of a formula: commands, single characters, and numbers; spaces say nothing.
const sign = /\\(?:operatorname\*|[A-Za-z]+|[\s\S])|\d+(?:,\d{3})*(?:\.\d+)?|\s+|[\s\S]/gu;

/// Environments: the brackets around, and how columns stand.
const environments = {
  matrix: ["", ""], smallmatrix: ["", ""], array: ["", ""], pmatrix: ["(", ")"], bmatrix: ["[", "]"], Bmatrix: ["{", "}"],
  vmatrix: ["|", "|"], Vmatrix: ["‖", "‖"], cases: ["{", "", "left"], rcases: ["", "}", "left"],
  aligned: ["", "", "pairs"], align: ["", "", "pairs"], "align*": ["", "", "pairs"], alignat: ["", "", "pairs"], split: ["", "", "pairs"],
  gather: ["", ""], "gather*": ["", ""], gathered: ["", ""], equation: ["", ""], "equation*": ["", ""],
};

class Parser {
  constructor(source, isDisplay) {
    this.tokens = source.match(sign);
    this.at = 0;
    this.depth = 0;
    this.isDisplay = isDisplay;
  }

  // MARK: Tokens

  /// The next token that is no space; undefined at the end.
  peek() {
    while (/^\s/.test(this.tokens[this.at] ?? "")) this.at++;
    return this.tokens[this.at];
  }

  next() {
    const token = this.peek();
    this.at++;
    return token;
  }

  expect(token) {
    if (this.next() !== token) throw new NotUnderstood();
  }

  takes(token) {
    if (this.peek() !== token) return false;
    this.at++;
    return true;
  }

  /// What stands in braces, as text.
  raw() {
    this.expect("{");
    let depth = 1, text = "";
    for (;;) {
      const token = this.tokens[this.at++];
      if (token === undefined) throw new NotUnderstood();
      depth += token === "{" ? 1 : token === "}" ? -1 : 0;
      if (depth === 0) return text;
      // A formula inside of a text, and commands there, are not understood.
      if (token === "$" || /^\\[A-Za-z]/.test(token)) throw new NotUnderstood();
      text += token.replace(/^\\/, "");
    }
  }

  // MARK: Rows

  all() {
    const content = this.table(undefined, "pairs");
    if (this.peek() !== undefined) throw new NotUnderstood();
    return content;
  }

  /// Things until a token that ends them, which stays.
  row(ends) {
    if (++this.depth > mostDepth) throw new NotUnderstood();
    const children = [];
    for (let token = this.peek(); token !== undefined && !ends.includes(token); token = this.peek()) {
      const child = this.scripted();
      if (!child) continue;
      // A minus after nothing or after another operator belongs to what follows.
      const before = children.at(-1);
      if (/^[−+±∓]$/.test(child.textContent) && (!before || (before.localName === "mo" && !/[)\]}|!′⟩⌋⌉]/.test(before.textContent)))) {
        child.setAttribute("form", "prefix");
      }
      children.push(child);
    }
    this.depth--;
    return children;
  }

  /// Rows and cells until `end`, which stays; a single cell is no table.
  table(end, alignment) {
    const rows = [[]];
    for (;;) {
      rows.at(-1).push(this.row(["&", "\\\\", "\\cr", "\\end", ...(end ? [end] : [])]));
      const token = this.peek();
      if (token === "&") this.at++;
      else if (token === "\\\\" || token === "\\cr") {
        this.at++;
        // The distance to the next row.
        if (this.peek() === "[") while (this.next() !== "]") if (this.peek() === undefined) throw new NotUnderstood();
        rows.push([]);
      } else break;
    }
    if (rows.length > 1 && rows.at(-1).length === 1 && rows.at(-1)[0].length === 0) rows.pop();
    if (rows.length === 1 && rows[0].length === 1) return row(rows[0][0]);
    const style = column => alignment === "left" ? "left" : alignment !== "pairs" ? "" : column % 2 === 0 ? "right" : "pair";
    return node("mtable", rows.map(cells => node("mtr", cells.map((cell, column) =>
      node("mtd", cell, style(column) && (cells.length > 1 || alignment === "left") ? { class: style(column) } : {})))),
    alignment === "pairs" ? { displaystyle: "true" } : {});
  }

  // MARK: Things

  /// A thing with what stands above and below; null for a command that draws nothing.
  scripted() {
    const base = this.thing();
    if (!base) return null;
    let above = null, below = null, primes = "";
    for (;;) {
      if (this.takes("'")) primes += "′";
      else if (this.takes("^")) { if (above) throw new NotUnderstood(); above = this.argument(); }
      else if (this.takes("_")) { if (below) throw new NotUnderstood(); below = this.argument(); }
      else if (base.hasLimits !== undefined && this.takes("\\limits")) base.hasLimits = true;
      else if (base.hasLimits !== undefined && this.takes("\\nolimits")) base.hasLimits = false;
      else break;
    }
    if (primes) above = row([operator(primes), ...(above ? [above] : [])]);
    const [both, under, over] = base.hasLimits ? ["munderover", "munder", "mover"] : ["msubsup", "msub", "msup"];
    const result = above && below ? node(both, [base, below, above])
      : below ? node(under, [base, below]) : above ? node(over, [base, above]) : base;
    // A function stands apart from what it is of, unless that is in brackets.
    const isClose = /^([([)\]}|,.&+=-]|\\left|\\right|\\\\|\\end|\\,)$/.test(this.peek() ?? ",");
    return base.isFunction && !isClose ? node("mrow", [result, space(.167)]) : result;
  }

  /// What belongs to a command or a script: one thing, or a group.
  argument() {
    const token = this.peek();
    if (token === undefined || token === "}" || token === "&" || token === "^" || token === "_") throw new NotUnderstood();
    // Of a number only the first digit belongs to it.
    if (/^\d./.test(token)) {
      this.tokens[this.at] = token.slice(1);
      return node("mn", [token[0]]);
    }
    return this.thing() ?? node("mrow");
  }

  thing() {
    if (++this.depth > mostDepth) throw new NotUnderstood();
    const token = this.next();
    if (token === undefined) throw new NotUnderstood();
    const result = token[0] === "\\" && token.length > 1 ? this.command(token.slice(1)) : this.character(token);
    this.depth--;
    return result;
  }

  character(token) {
    if (token === "{") {
      const children = this.row(["}"]);
      this.expect("}");
      return row(children);
    }
    if (/^\d/.test(token)) return node("mn", [token]);
    if ("}&$#%\\".includes(token)) throw new NotUnderstood();
    if (token === "^" || token === "_") throw new NotUnderstood();
    if (token === "~") return space(.25);
    if (token === "-") return operator("−");
    if (token === "*") return operator("∗");
    if ("()[]".includes(token)) return operator(token, { stretchy: "false" });
    if (token === "|" || token === "/") return operator(token, { stretchy: "false", lspace: "0", rspace: "0" });
    if (/^\p{Script=Han}|^\p{Script=Hiragana}|^\p{Script=Katakana}/u.test(token)) return node("mtext", [token]);
    return /^\p{L}/u.test(token) ? node("mi", [token]) : operator(token);
  }

  command(name) {
    if (symbols.letters.has(name)) return node("mi", [symbols.letters.get(name)]);
    if (symbols.operators.has(name)) return operator(symbols.operators.get(name));
    if (symbols.bigOperators.has(name)) return withLimits(operator(symbols.bigOperators.get(name), { movablelimits: "true" }), true);
    if (symbols.integrals.has(name)) return withLimits(operator(symbols.integrals.get(name)), false);
    if (symbols.functions.has(name)) return asFunction(node("mi", [name]));
    if (symbols.limits.has(name)) {
      return asFunction(withLimits(operator(symbols.limits.get(name), { movablelimits: "true", lspace: "0", rspace: "0" }), true));
    }
    if (symbols.spaces.has(name)) return space(symbols.spaces.get(name));
    if (symbols.accents.has(name)) return this.accent(name);
    if (symbols.isAlphabet(name)) return inAlphabet(this.argument(), name);
    if ("{}|%$&#_".includes(name)) return "%$&#_".includes(name) ? node("mi", [name]) : operator(name === "|" ? "‖" : name, { stretchy: "false" });
    if (symbols.fences.has(name)) return operator(symbols.fences.get(name), { stretchy: "false" });
    return this.construction(name);
  }

  construction(name) {
    switch (name) {
      case "frac": case "dfrac": case "tfrac": case "cfrac": return node("mfrac", [this.argument(), this.argument()]);
      case "binom": case "dbinom": case "tbinom":
        return node("mrow", [fence("("), node("mfrac", [this.argument(), this.argument()], { linethickness: "0" }), fence(")")]);
      case "sqrt": {
        if (!this.takes("[")) return node("msqrt", [this.argument()]);
        const degree = row(this.row(["]"]));
        this.expect("]");
        return node("mroot", [this.argument(), degree]);
      }
      case "left": return this.fenced();
      case "begin": return this.environment();
      case "text": case "textrm": case "textnormal": case "mbox": case "textit": case "textsf": case "texttt":
        return node("mtext", [this.raw().replace(/^ | $/g, "\u00a0")]);
      case "textbf": return node("mtext", [this.raw()], { class: "bold" });
      case "operatorname": case "operatorname*": return asFunction(node("mi", [this.raw()], { mathvariant: "normal" }));
      case "mathrm": case "mathsf": case "mathtt": case "mathit": case "rm": case "mathop": case "mathbin": case "mathrel":
        return upright(name === "rm" ? node("mrow", this.row(["}"])) : this.argument(), name);
      case "overset": case "stackrel": { const above = this.argument(); return node("mover", [this.argument(), above]); }
      case "underset": { const below = this.argument(); return node("munder", [this.argument(), below]); }
      case "bmod": case "mod": return operator("mod", { lspace: ".25em", rspace: ".25em" });
      case "pmod": return node("mrow", [space(.5), operator("("), operator("mod", { rspace: ".3em" }), this.argument(), operator(")")]);
      case "not": {
        const negated = this.thing();
        if (negated?.localName !== "mo") throw new NotUnderstood();
        negated.textContent = (negated.textContent + "\u0338").normalize("NFC");
        return negated;
      }
      case "boxed": return node("mrow", [this.argument()], { class: "boxed" });
      case "displaystyle": case "textstyle": case "nonumber": case "notag": return null;
      case "tag": return node("mrow", [space(2), node("mtext", [`(${this.raw()})`])]);
      default: break;
    }
    const size = /^(big|Big|bigg|Bigg)[lrm]?$/.exec(name);
    if (!size) throw new NotUnderstood();
    const height = { big: 1.2, Big: 1.8, bigg: 2.4, Bigg: 3 }[size[1]];
    return operator(this.fenceSign(), { stretchy: "true", minsize: `${height}em`, maxsize: `${height}em` });
  }

  /// A bracket; "" for the dot that stands for none.
  fenceSign() {
    const token = this.next();
    if (token === ".") return "";
    const found = symbols.fences.get(token === "\\|" ? "||" : token?.replace(/^\\/, "")) ?? symbols.operators.get(token?.slice(1));
    if (found === undefined) throw new NotUnderstood();
    return found;
  }

  fenced() {
    const children = [];
    const opening = this.fenceSign();
    if (opening) children.push(fence(opening));
    for (;;) {
      children.push(...this.row(["\\right", "\\middle", "&", "\\\\"]));
      if (this.takes("\\middle")) children.push(fence(this.fenceSign()));
      else break;
    }
    this.expect("\\right");
    const closing = this.fenceSign();
    if (closing) children.push(fence(closing));
    return node("mrow", children);
  }

  environment() {
    const name = this.raw();
    if (!Object.hasOwn(environments, name)) throw new NotUnderstood();
    const [opening, closing, alignment] = environments[name];
    // How the columns of an array stand; what a program draws between them is left out.
    if (name === "array" || name === "alignat") this.raw();
    const content = this.table("\\end", alignment);
    this.expect("\\end");
    if (this.raw() !== name) throw new NotUnderstood();
    return node("mrow", [...(opening ? [fence(opening)] : []), content, ...(closing ? [fence(closing)] : [])]);
  }

  accent(name) {
    const base = this.argument();
    const mark = operator(symbols.accents.get(name), { stretchy: String(symbols.stretching.has(name)) });
    const isBelow = name.startsWith("under");
    const result = isBelow ? node("munder", [base, mark], { accentunder: "true" }) : node("mover", [base, mark], { accent: "true" });
    return name.endsWith("brace") ? withLimits(result, true) : result;
  }
}

/// Marks a thing whose scripts stand above and below it.
function withLimits(element, hasLimits) { return Object.assign(element, { hasLimits }); }

function asFunction(element) { return Object.assign(element, { isFunction: true }); }

/// Letters and digits of an element in another alphabet.
function inAlphabet(element, name) {
  for (const leaf of leaves(element)) leaf.textContent = [...leaf.textContent].map(character => symbols.inAlphabet(name, character)).join("");
  return element;
}

/// The letters of an element upright, as one word where they are one.
function upright(element, name) {
  if (name === "mathit") return element;
  const all = leaves(element);
  if (element.localName === "mrow" && all.length === element.children.length && all.every(({ localName }) => localName !== "mo")) {
    return node("mi", [all.map(({ textContent }) => textContent).join("")], { mathvariant: "normal" });
  }
  for (const leaf of all) if (leaf.localName === "mi") leaf.setAttribute("mathvariant", "normal");
  return element;
}

function leaves(element) {
  return ["mi", "mn", "mo"].includes(element.localName) ? [element] : [...element.querySelectorAll("mi, mn, mo")];
}
