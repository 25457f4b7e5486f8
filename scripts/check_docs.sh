#!/usr/bin/env bash
# Checks the documents: every path that they name exists; every line of Swift that they quote is in the source
# (check_quotations.py); they avoid the words of a list (check_words.py); every `minimind …` command line uses options that
# its --help lists. The last part needs the binary and is left out, with a line that says so, where it is not built.
set -euo pipefail
cd "$(dirname "$0")/.."

documents=(README.md README_zh.md README_ja.md CONTRIBUTING.md docs/*.md docs/tutorial/*.md)
binary=.build/release/minimind
faults=0
fault() { echo "check_docs: $1" >&2; faults=$((faults + 1)); }

# Paths: targets of relative links, and back-quoted names that start with a folder of the repository.
for document in "${documents[@]}"; do
  while read -r target; do
    target=${target%%#*}
    case $target in '' | *://* | mailto:*) continue ;; esac
    [ -e "$(dirname "$document")/$target" ] || fault "$document links to $target, which does not exist."
  done < <(grep -oE '\]\([^) ]+\)' "$document" | sed -E 's/^\]\(|\)$//g' || true)
  while read -r path; do
    [ -e "$path" ] || compgen -G "$path" >/dev/null || fault "$document names $path, which does not exist."
  done < <(grep -oE '`(Sources|Tests|scripts|docs|\.ci)/[^` ]*`' "$document" | tr -d '`' || true)
done

# Bytes: powers of 1024 by their exact names.
while IFS= read -r line; do
  fault "${line%%:*} has “${line#*:}”; bytes are written in KiB, MiB, GiB and TiB."
done < <(grep -noE '[0-9.]+ ?[kKMGT]B\b' "${documents[@]}" || true)

# Quotations of Swift, and words that the project does not use.
scripts/check_quotations.py "${documents[@]}" || faults=$((faults + 1))
scripts/check_words.py || faults=$((faults + 1))

# Defaults of sampling, which a document gives in words.
if [ -x "$binary" ]; then
  while IFS=: read -r document sentence; do
    read -r temperature top_k < <(sed -E 's/[^0-9.]*([0-9.]+)[^0-9]*([0-9]+).*/\1 \2/' <<<"$sentence")
    help=$("$binary" generate --help | tr -s ' \n' ' ')
    grep -qE -- "--temperature X [^-]*\(default: $temperature\) --top-k N [^-]*\(default: $top_k\)" <<<"$help" ||
      fault "$document says “$sentence”, which is not what minimind generate --help says."
  done < <(grep -oE '\(temperature [0-9.]+, `top_k` [0-9]+\)' "${documents[@]}" || true)
fi

# Command lines: continued lines are joined first.
declare -A helps
if [ -x "$binary" ]; then
  while IFS=$'\t' read -r document line; do
    # The command is the words before the first that is an option, a path or a placeholder; one or two of them.
    read -ra words <<<"$line"
    command=() index=1
    while [ "$index" -lt ${#words[@]} ] && [ ${#command[@]} -lt 2 ] && [[ ${words[$index]} =~ ^[a-z]+$ ]]; do
      command+=("${words[$index]}")
      index=$((index + 1))
    done
    name=${command[*]}
    [ -n "${helps[$name]+known}" ] || helps[$name]=$("$binary" "${command[@]}" --help 2>/dev/null </dev/null || true)
    help=${helps[$name]}
    [ -n "$help" ] || { fault "$document: no command in “$line”."; continue; }
    for word in "${words[@]}"; do
      [[ $word =~ ^--[a-z] ]] || continue
      grep -q -- "${word%%=*}\b" <<<"$help" || fault "$document: ${words[*]:1:2} has no option $word."
    done
  done < <(
    for document in "${documents[@]}"; do
      sed -e ':join' -e '/\\$/N; s/\\\n */ /; tjoin' "$document" | grep -oE '^ *(\$ )?(\.build/release/)?minimind [a-z].*' |
        sed -E "s|^ *(\\\$ )?(\.build/release/)?||; s| +#.*||; s|^|$document\t|" || true
    done
  )
else
  echo "check_docs: $binary is not built; command lines were not checked."
fi

[ "$faults" = 0 ] || exit 1
echo "check_docs: ${#documents[@]} documents name only what exists."
