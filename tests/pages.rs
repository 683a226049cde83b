//! Goal: the pages of `blockjob check` work for whoever reads them: nothing scrolls sideways but boxes of their own, on a
//! phone too; every mark can be reached by the keyboard and then says what it is; text stands out from what is
//! behind it, in light and in dark; nothing of a trace runs, and nothing is fetched.
//! Method: a headless Chromium opens the page, as it was written, in frames of a phone's width and of a desk's; a script
//! beside the frame measures and tries.
//!
//! `BLOCKJOB_CHROMIUM` names the browser; `cargo xtask test` sets it where there is one. Without it every test
//! here says that it was skipped.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;
mod made_traces;

use std::fs;
use std::path::Path;
use std::process::Command;

use cli_support::run;
use made_traces::Made;
use serde_json::Value;
use tempfile::TempDir;

/// What is done beside the page: for each width, a frame with the page in it, and what is found there.
const BESIDE: &str = include_str!("pages/beside.js");

const WIDTHS: [u64; 3] = [360, 768, 1280];

/// What a browser finds in a page, for each width; `None`: there is no browser.
fn look(page: &Path, dark: bool) -> Option<Vec<Value>> {
    let Some(browser) = std::env::var_os("BLOCKJOB_CHROMIUM") else {
        eprintln!("SKIPPED: BLOCKJOB_CHROMIUM names no Chromium");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let text = serde_json::to_string(&fs::read_to_string(page).unwrap()).unwrap();
    // Nothing of it ends the script around it.
    let text = text.replace('<', "\\u003c");
    let beside = folder.path().join("beside.html");
    fs::write(
        &beside,
        format!(
            "<!doctype html><meta charset=\"utf-8\"><meta name=\"color-scheme\" content=\"light dark\"><body>\
             <script>const widths = {WIDTHS:?}, text = {text};{BESIDE}</script>"
        ),
    )
    .unwrap();
    let mut command = Command::new(browser);
    command
        .args([
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--window-size=1400,900",
        ])
        // The page is ours, and tests run as root in containers, where there is no sandbox to be had.
        .arg("--no-sandbox")
        .arg("--host-resolver-rules=MAP * ~NOTFOUND")
        .arg(format!(
            "--user-data-dir={}",
            folder.path().join("profile").display()
        ))
        .args(["--virtual-time-budget=20000", "--dump-dom"]);
    if dark {
        command.arg("--force-dark-mode");
    }
    let output = command.arg(&beside).output().unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let found = dom
        .split_once("FOUND")
        .and_then(|(_, rest)| rest.split_once("END"));
    let (found, _) = found.unwrap_or_else(|| {
        panic!(
            "the browser found nothing: {}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    Some(serde_json::from_str(&unescape(found)).unwrap())
}

/// What `encodeURIComponent` made of a text.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next().unwrap(), rest.next().unwrap()];
            let digits = std::str::from_utf8(&digits).unwrap();
            bytes.push(u8::from_str_radix(digits, 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Looks at a page in light and dark, and holds it to what every page promises; what was found in light.
fn good(page: &Path) -> Option<Vec<Value>> {
    let light = look(page, false)?;
    let dark = look(page, true)?;
    for found in [&light, &dark] {
        assert_eq!(found.len(), WIDTHS.len());
        for found in found {
            assert_eq!(found["error"], Value::Null, "{found}");
            assert_eq!(found["scrolls"], found["width"], "sideways: {found}");
            assert_eq!(found["scripts"], 0, "{found}");
            assert_eq!(found["hacked"], "undefined", "{found}");
            assert_eq!(found["fetched"], 0, "{found}");
            assert_eq!(found["lead"], 0, "links that lead nowhere: {found}");
            assert_eq!(found["boxes"], 0, "boxes beyond the keyboard: {found}");
            assert_eq!(found["reached"], found["marks"], "{found}");
            let silent = found["cells"].as_array().unwrap();
            assert!(
                silent.is_empty(),
                "cells that the keyboard cannot ask: {found}"
            );
            assert!(found["contrast"].as_f64().unwrap() >= 4.5, "{found}");
            for tip in found["tips"].as_array().unwrap() {
                assert_eq!(tip["focused"], true, "{found}");
                assert_eq!(tip["inside"], true, "{found}");
                assert!(tip["before"].as_f64().unwrap() <= 1.0, "{found}");
                assert!(tip["colour"].as_f64().unwrap() >= 4.5, "{found}");
            }
        }
    }
    for (light, dark) in light.iter().zip(&dark) {
        assert_ne!(light["back"], dark["back"]);
    }
    Some(light)
}

fn page(option: &str, folder: &TempDir, traces: &[&str]) -> std::path::PathBuf {
    let file = folder.path().join("page.html");
    let mut arguments = vec!["check", option, file.to_str().unwrap()];
    arguments.extend(traces);
    let ran = run(&arguments);
    assert!(ran.code <= 1, "{ran:?}");
    file
}

#[test]
fn a_rejected_trace_and_an_accepted_one_read_well() {
    let folder = tempfile::tempdir().unwrap();
    let traces = [
        "tests/corpus/mutants/aborting-to-pending.jsonl",
        "tests/corpus/live-10.0/txn-grouped-error-stop-cancel.jsonl",
    ];
    let Some(found) = good(&page("--html", &folder, &traces)) else {
        return;
    };
    for found in found {
        let tips = found["tips"].as_array().unwrap();
        assert_eq!(tips.len(), 3);
        let broke = tips[1]["text"].as_str().unwrap();
        assert!(
            broke.contains("This is what the trace is rejected for."),
            "{broke}"
        );
        assert!(
            broke.contains("held possible before it: aborting"),
            "{broke}"
        );
        assert_eq!(
            found["hover"], true,
            "what the keyboard does, the pointer does"
        );
    }
}

#[test]
fn many_jobs_and_a_long_trace_read_well() {
    for (jobs, rounds) in [(300, 2), (2, 5000)] {
        let folder = tempfile::tempdir().unwrap();
        let made = Made::default().many(jobs, rounds).write(&folder);
        let Some(found) = good(&page("--html", &folder, &[made.to_str().unwrap()])) else {
            return;
        };
        assert!(found[0]["marks"].as_u64().unwrap() > 300);
    }
}

#[test]
fn markup_in_a_trace_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let script = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>";
    let made = Made::default().job("j").then_refusal(script).job(script);
    let made = made.write(&folder);
    good(&page("--html", &folder, &[made.to_str().unwrap()]));
}

#[test]
fn hardly_anything_reads_well_too() {
    let folder = tempfile::tempdir().unwrap();
    let made = Made::default().then_refusal("j").write(&folder);
    good(&page("--html", &folder, &[made.to_str().unwrap()]));
}

#[test]
fn coverage_reads_well() {
    let folder = tempfile::tempdir().unwrap();
    let found = good(&page("--coverage", &folder, &["tests/corpus/live-7.2"]));
    for found in found.into_iter().flatten() {
        assert!(found["titled"].as_u64().unwrap() > 50, "{found}");
    }
}

#[test]
fn a_search_reads_well_that_held_and_one_that_did_not() {
    for (profile, jobs, code) in [
        ("reference", "1", 0),
        ("reference", "any", 0),
        ("qemu-10.0", "1", 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page.html");
        let name = file.to_str().unwrap();
        let ran = run([
            "explore",
            "--jobs",
            jobs,
            "--profile",
            profile,
            "--html",
            name,
        ]);
        assert_eq!(ran.code, code, "{ran:?}");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.len() < 1 << 20, "{}", text.len());
        // Each violated property leads to the way that breaks it.
        let broken = text.matches("href=\"#broken-").count();
        assert_eq!(text.matches("id=\"broken-").count(), broken);
        assert_eq!(broken > 0, code == 1);
        good(&file);
    }
}
