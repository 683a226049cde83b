#!/bin/sh
# Fills fuzz/corpus with the recordings of tests/corpus, each for the targets that read its format.
set -eu
cd "$(dirname "$0")"
for target in auto qmp qmp_raw qemu_log libvirt native acceptor; do
    mkdir -p "corpus/$target"
done
seed() { # TARGET FILE...
    target=$1
    shift
    for file; do
        name=$(echo "$file" | tr / -)
        head -c 20000 "$file" >"corpus/$target/${name#..-tests-corpus-}"
    done
}
for file in ../tests/corpus/live-*/*.jsonl ../tests/corpus/traps/*.jsonl ../tests/corpus/mutants/*.jsonl; do
    [ -f "$file" ] || continue
    seed auto "$file"
    seed qmp "$file"
    # The messages alone are the bare form.
    name=$(echo "${file#../tests/corpus/}" | tr / -)
    sed -n 's/^.*"msg": *\(.*\)}$/\1/p' "$file" | head -c 20000 >"corpus/qmp_raw/$name"
done
find ../tests/corpus -path '*qemu-log*' -type f ! -name '*.md' ! -name '*.json' | while read -r file; do
    seed auto "$file"
    seed qemu_log "$file"
done
find ../tests/corpus -path '*libvirt*' -type f ! -name '*.md' ! -name '*.json' | while read -r file; do
    seed auto "$file"
    seed libvirt "$file"
done
header='{"blockjob_trace":1,"profile":"reference"}'
printf '%s\n' "$header" >corpus/native/header
printf '%s\n%s\n' "$header" '{"seq":1,"t_ns":0,"thread":"main","kind":"status","job":"j","group":null,"status":"created"}' >corpus/native/status
printf '\000\000\000\022\003\000\004\003\000\010' >corpus/acceptor/begin
for target in auto qmp qmp_raw qemu_log libvirt native acceptor; do
    echo "$target: $(ls "corpus/$target" | wc -l) seeds"
done
