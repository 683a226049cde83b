#!/bin/sh
# Fills fuzz/corpus with the recordings of tests/corpus, each for the targets that read its format.
set -eu
cd "$(dirname "$0")"
for target in auto qmp qmp_raw qemu_log libvirt native acceptor serve; do
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
    # What the client said.
    sed -n 's/^.*"dir": *">".*"msg": *\(.*\)}$/\1/p' "$file" | head -c 20000 >"corpus/serve/$name"
done
find ../tests/corpus -name '*.trace' -type f | while read -r file; do
    seed auto "$file"
    seed qemu_log "$file"
done
# As libvirt writes what goes over its monitors, and as the journal keeps that.
stamp='2026-01-02 03:04:05.678+0000: 4711: info :'
for file in ../tests/corpus/live-*/*.jsonl ../tests/corpus/mutants/*.jsonl; do
    name=$(echo "${file#../tests/corpus/}" | tr / -)
    sed -n \
        -e "s/^.*\"dir\": *\">\".*\"msg\": *\(.*\)}\$/$stamp qemuMonitorSend:864 : QEMU_MONITOR_SEND_MSG: mon=0x7f01 msg=\1\r\n fd=-1/p" \
        -e "s/^.*\"msg\": *\({\"QMP.*\)}\$/$stamp qemuMonitorJSONIOProcessLine:236 : Line [\1]/p" \
        -e "s/^.*\"msg\": *\(.*\"event\".*\)}\$/$stamp qemuMonitorJSONIOProcessLine:236 : QEMU_MONITOR_RECV_EVENT: mon=0x7f01 event=\1/p" \
        -e "s/^.*\"dir\": *\"<\".*\"msg\": *\(.*\)}\$/$stamp qemuMonitorJSONIOProcessLine:236 : QEMU_MONITOR_RECV_REPLY: mon=0x7f01 reply=\1/p" \
        "$file" | head -c 20000 >"corpus/libvirt/$name"
    sed -n -e 's/^[^ ]* [^ ]* [0-9]*: info : [^ ]* : \(QEMU.*\)/Jan 02 03:04:05 host libvirtd[4711]: \1/p' \
        "corpus/libvirt/$name" >"corpus/libvirt/journal-$name"
done
header='{"blockjob_trace":1,"profile":"reference"}'
printf '%s\n' "$header" >corpus/native/header
printf '%s\n%s\n' "$header" '{"seq":1,"t_ns":0,"thread":"main","kind":"status","job":"j","group":null,"status":"created"}' >corpus/native/status
printf '\000\000\000\022\003\000\004\003\000\010' >corpus/acceptor/begin
for target in auto qmp qmp_raw qemu_log libvirt native acceptor serve; do
    echo "$target: $(ls "corpus/$target" | wc -l) seeds"
done
