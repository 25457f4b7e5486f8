# Headings with a number and the time so far, for a script in stages: source this with the number of stages.
stage=0
stages=$1
start=$SECONDS
so_far() { printf '%d:%02d' $(((SECONDS - start) / 60)) $(((SECONDS - start) % 60)); }
step() {
  stage=$((stage + 1))
  printf '\n[%d/%d] %s (%s so far)\n' "$stage" "$stages" "$1" "$(so_far)"
}
