// HTML's names of characters, those that models write. No HTML is parsed for it.

const names = new Map(`
amp & lt < gt > quot " apos ' nbsp \u00a0 ensp \u2002 emsp \u2003 thinsp \u2009 shy \u00ad
copy © reg ® trade ™ deg ° micro µ para ¶ sect § middot · bull • hellip … dagger † Dagger ‡ permil ‰ prime ′ Prime ″
ndash – mdash — lsquo ‘ rsquo ’ sbquo ‚ ldquo “ rdquo ” bdquo „ laquo « raquo » lsaquo ‹ rsaquo ›
cent ¢ pound £ yen ¥ euro € curren ¤ iexcl ¡ iquest ¿ ordf ª ordm º sup1 ¹ sup2 ² sup3 ³ frac14 ¼ frac12 ½ frac34 ¾
plusmn ± times × divide ÷ minus − lowast ∗ radic √ infin ∞ asymp ≈ cong ≅ sim ∼ equiv ≡ ne ≠ le ≤ ge ≥ prop ∝
sum ∑ prod ∏ int ∫ part ∂ nabla ∇ isin ∈ notin ∉ ni ∋ cap ∩ cup ∪ sub ⊂ sup ⊃ sube ⊆ supe ⊇ empty ∅ forall ∀ exist ∃
and ∧ or ∨ not ¬ there4 ∴ perp ⊥ ang ∠ oplus ⊕ otimes ⊗ sdot ⋅ larr ← uarr ↑ rarr → darr ↓ harr ↔ lArr ⇐ uArr ⇑ rArr ⇒
dArr ⇓ hArr ⇔ spades ♠ clubs ♣ hearts ♥ diams ♦ loz ◊ check ✓ cross ✗ star ☆ phone ☎
Alpha Α Beta Β Gamma Γ Delta Δ Epsilon Ε Zeta Ζ Eta Η Theta Θ Iota Ι Kappa Κ Lambda Λ Mu Μ Nu Ν Xi Ξ Omicron Ο Pi Π
Rho Ρ Sigma Σ Tau Τ Upsilon Υ Phi Φ Chi Χ Psi Ψ Omega Ω alpha α beta β gamma γ delta δ epsilon ε zeta ζ eta η theta θ
iota ι kappa κ lambda λ mu μ nu ν xi ξ omicron ο pi π rho ρ sigmaf ς sigma σ tau τ upsilon υ phi φ chi χ psi ψ omega ω
Agrave À Aacute Á Acirc Â Atilde Ã Auml Ä Aring Å AElig Æ Ccedil Ç Egrave È Eacute É Ecirc Ê Euml Ë Iacute Í Ntilde Ñ
Oacute Ó Ocirc Ô Otilde Õ Ouml Ö Oslash Ø Uacute Ú Uuml Ü szlig ß agrave à aacute á acirc â atilde ã auml ä aring å
aelig æ ccedil ç egrave è eacute é ecirc ê euml ë igrave ì iacute í icirc î iuml ï ntilde ñ ograve ò oacute ó ocirc ô
otilde õ ouml ö oslash ø ugrave ù uacute ú ucirc û uuml ü yuml ÿ oelig œ OElig Œ
`.match(/[A-Za-z]\w* \S|[A-Za-z]\w* [\u00a0\u2002\u2003\u2009]/g).map(pair => pair.split(/ (?=.$)/su)));

/// The character that a reference such as `&amp;`, `&#38;` or `&#x26;` means; the reference itself if there is none.
export function entity(reference) {
  const name = reference.slice(1, -1);
  if (name[0] !== "#") return names.get(name) ?? reference;
  const code = /^#x/i.test(name) ? parseInt(name.slice(2), 16) : parseInt(name.slice(1));
  const isCharacter = code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
  return isCharacter ? String.fromCodePoint(code) : "\ufffd";
}
