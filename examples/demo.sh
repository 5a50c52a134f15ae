# Learn from two good runs of a small classifier, then catch a bug that never crashes.
set -eu
work=.demo
script=examples/digits.py
rm -rf "$work"
mkdir -p "$work"

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

say traincheck collect -o "$work/good-0" "$script"
say traincheck collect -o "$work/good-1" "$script" --seed 1 --width 8
say traincheck infer "$work/good-0" "$work/good-1" -o "$work/learned.rules"
say traincheck collect -o "$work/frozen" "$script" --seed 2 --frozen
status=0
say traincheck check "$work/frozen" -i "$work/learned.rules" --explain || status=$?
[ "$status" -eq 1 ] || { echo "demo: expected violations (exit 1), got exit $status" >&2; exit 1; }
