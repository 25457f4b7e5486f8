// What commands of TeX mean as characters.

function table(source) {
  return new Map(source.trim().split(/\s+/).map(pair => pair.split(":")));
}

/// Letters and signs that stand for a thing.
export const letters = table(`
alpha:α beta:β gamma:γ delta:δ epsilon:ϵ varepsilon:ε zeta:ζ eta:η theta:θ vartheta:ϑ iota:ι kappa:κ varkappa:ϰ lambda:λ mu:μ
nu:ν xi:ξ omicron:ο pi:π varpi:ϖ rho:ρ varrho:ϱ sigma:σ varsigma:ς tau:τ upsilon:υ phi:ϕ varphi:φ chi:χ psi:ψ omega:ω
Gamma:Γ Delta:Δ Theta:Θ Lambda:Λ Xi:Ξ Pi:Π Sigma:Σ Upsilon:Υ Phi:Φ Psi:Ψ Omega:Ω
infty:∞ partial:∂ nabla:∇ hbar:ℏ ell:ℓ Re:ℜ Im:ℑ aleph:ℵ beth:ℶ wp:℘ imath:ı jmath:ȷ emptyset:∅ varnothing:∅ forall:∀ exists:∃
nexists:∄ top:⊤ bot:⊥ angle:∠ triangle:△ square:□ Box:□ blacksquare:■ qed:∎ degree:° prime:′ ldots:… dots:… dotsc:… cdots:⋯ dotsb:⋯
vdots:⋮ ddots:⋱ checkmark:✓ star:⋆ dagger:† ddagger:‡ clubsuit:♣ diamondsuit:♢ heartsuit:♡ spadesuit:♠ sharp:♯ flat:♭ natural:♮
S:§ P:¶ pounds:£ euro:€ yen:¥ copyright:© mathdollar:$
`);

/// Signs between or before things.
export const operators = table(`
times:× div:÷ cdot:⋅ pm:± mp:∓ ast:∗ circ:∘ bullet:∙ oplus:⊕ ominus:⊖ otimes:⊗ odot:⊙ wedge:∧ land:∧ vee:∨ lor:∨ neg:¬ lnot:¬
cap:∩ cup:∪ setminus:∖ smallsetminus:∖ sqcap:⊓ sqcup:⊔ uplus:⊎ amalg:⨿ wr:≀ diamond:⋄
leq:≤ le:≤ leqslant:⩽ geq:≥ ge:≥ geqslant:⩾ neq:≠ ne:≠ ll:≪ gg:≫ equiv:≡ approx:≈ sim:∼ simeq:≃ cong:≅ propto:∝ doteq:≐ asymp:≍
triangleq:≜ coloneqq:≔ prec:≺ succ:≻ preceq:⪯ succeq:⪰ lt:< gt:> nleq:≰ ngeq:≱
in:∈ notin:∉ ni:∋ subset:⊂ supset:⊃ subseteq:⊆ supseteq:⊇ subsetneq:⊊ supsetneq:⊋ nsubseteq:⊈ sqsubseteq:⊑ sqsupseteq:⊒
to:→ rightarrow:→ leftarrow:← gets:← leftrightarrow:↔ Rightarrow:⇒ Leftarrow:⇐ Leftrightarrow:⇔ implies:⟹ impliedby:⟸ iff:⟺
longrightarrow:⟶ longleftarrow:⟵ Longrightarrow:⟹ Longleftrightarrow:⟺ mapsto:↦ longmapsto:⟼ hookrightarrow:↪ hookleftarrow:↩
rightharpoonup:⇀ rightleftharpoons:⇌ leadsto:⇝ uparrow:↑ downarrow:↓ updownarrow:↕ Uparrow:⇑ Downarrow:⇓ nearrow:↗ searrow:↘
mid:∣ nmid:∤ parallel:∥ nparallel:∦ perp:⊥ vdash:⊢ dashv:⊣ models:⊨ vDash:⊨ therefore:∴ because:∵ colon:: ltimes:⋉ rtimes:⋊
`.replace("colon::", "")).set("colon", ":");

/// Operators with limits; those of the second list have them beside.
export const bigOperators = table(`
sum:∑ prod:∏ coprod:∐ bigcup:⋃ bigcap:⋂ bigvee:⋁ bigwedge:⋀ bigoplus:⨁ bigotimes:⨂ bigodot:⨀ bigsqcup:⨆ biguplus:⨄
`);
export const integrals = table("int:∫ iint:∬ iiint:∭ oint:∮ oiint:∯");

/// Names of functions; those of the second list have limits.
export const functions = new Set(`sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh coth log ln lg exp deg dim hom ker arg
tr rank sgn`.split(/\s+/));
export const limits = new Map("lim limsup liminf max min sup inf det gcd argmax argmin Pr".split(" ").map(name =>
  [name, { limsup: "lim sup", liminf: "lim inf", argmax: "arg max", argmin: "arg min" }[name] ?? name]));

/// Brackets.
export const fences = table(`
(:( ):) [:[ ]:] {:{ }:} |:| /:/ lbrace:{ rbrace:} lbrack:[ rbrack:] langle:⟨ rangle:⟩ lfloor:⌊ rfloor:⌋ lceil:⌈ rceil:⌉ vert:| lvert:|
rvert:| Vert:‖ lVert:‖ rVert:‖ <:⟨ >:⟩ backslash:\\ lgroup:⟮ rgroup:⟯ ulcorner:⌜ urcorner:⌝
`).set("||", "‖");

/// Marks above a thing, and lines above and below; the last ones stretch.
export const accents = table(`
hat:^ widehat:^ check:ˇ tilde:~ widetilde:~ bar:¯ vec:→ dot:˙ ddot:¨ dddot:⃛ acute:´ grave:\` breve:˘ mathring:˚ overline:‾
overrightarrow:→ overleftarrow:← overbrace:⏞ underline:_ underbrace:⏟
`);
export const stretching = new Set(["widehat", "widetilde", "overline", "underline", "overrightarrow", "overleftarrow", "overbrace", "underbrace"]);

/// Widths of spaces, in em.
export const spaces = new Map([
  [",", .167], ["thinspace", .167], [":", .222], [">", .222], ["medspace", .222], [";", .278], ["thickspace", .278], ["!", -.167],
  [" ", .25], ["quad", 1], ["qquad", 2], ["enspace", .5], ["space", .25], ["\n", .25],
]);

/// Alphabets: where the capitals, the small letters and the digits begin, and the letters that Unicode has elsewhere.
const alphabets = {
  mathbf: [0x1d400, 0x1d41a, 0x1d7ce], boldsymbol: [0x1d468, 0x1d482, 0x1d7ce], bm: [0x1d468, 0x1d482, 0x1d7ce],
  mathbb: [0x1d538, 0x1d552, 0x1d7d8], mathcal: [0x1d49c, 0x1d4b6], mathscr: [0x1d49c, 0x1d4b6], mathfrak: [0x1d504, 0x1d51e],
};
const elsewhere = {
  mathbb: "CℂHℍNℕPℙQℚRℝZℤ", mathcal: "BℬEℰFℱHℋIℐLℒMℳRℛeℯgℊoℴ", mathscr: "BℬEℰFℱHℋIℐLℒMℳRℛeℯgℊoℴ", mathfrak: "CℭHℌIℑRℜZℨ",
};
export const isAlphabet = name => name in alphabets;

/// A letter or a digit in an alphabet; as it is where the alphabet has none.
export function inAlphabet(name, character) {
  const exception = (elsewhere[name] ?? "").indexOf(character);
  if (exception >= 0) return elsewhere[name][exception + 1];
  const [capitals, smalls, digits] = alphabets[name];
  const code = character.charCodeAt(0);
  if (/^[A-Z]$/.test(character)) return String.fromCodePoint(capitals + code - 65);
  if (/^[a-z]$/.test(character)) return String.fromCodePoint(smalls + code - 97);
  if (/^\d$/.test(character) && digits) return String.fromCodePoint(digits + code - 48);
  return character;
}
