//! The pages promise nothing that is not there.
//!
//! Goal: `docs/seed.md` names, for every symbol of the seed, ours and the test that would fail without
//! it; `docs/properties.md` names, for every property, its checks and their bounds; `docs/contract-checks.md`, for every rule
//! that the copy's contract has in those words, its tests. None may name a
//! file, an item, a test or a harness that does not exist, leave a cell blank, or forget one. Method:
//! the tables are read, each link is followed into the file, and what its label names is looked for
//! there; the lists of what must be in them are the specification's own, and the seed's here. Each
//! kind of mistake is made once in a page of its own, and seen.
//!
//! How the cells are written: a link's label is code, `module::item` or `Type::item`, and its target the
//! file that defines it, relative to the page. What stands under a heading `test`, or is said to be
//! checked by a `test` or `proptest`, must be a test; a harness of `proofs/` is called by its name.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use blockjob::model::crowd;
use blockjob::model::explore::liveness;
use blockjob::model::property;

/// What the seed header declares, with the parameters and fields that are concepts of their own; then what
/// the public header beside it declares, and the job that both speak of (SEMANTICS.md §1a, Appendix B).
const SEED: &[&str] = &[
    // The driver.
    "BlockJobDriver",
    "instance_size",
    "job_type",
    "set_speed",
    "start",
    "complete",
    "commit",
    "abort",
    "clean",
    "pause",
    "resume",
    "attached_aio_context",
    "drain",
    // Creation.
    "block_job_create",
    "job_id",
    "driver",
    "bs",
    "perm",
    "shared_perm",
    "speed",
    "flags",
    "cb",
    "opaque",
    "errp",
    "block_job_early_fail",
    // From inside the run.
    "block_job_sleep_ns",
    "clock",
    "ns",
    "block_job_yield",
    "block_job_pause_point",
    "block_job_is_cancelled",
    "block_job_event_ready",
    "block_job_error_action",
    "on_err",
    "is_read",
    "error",
    "block_job_completed",
    "block_job_defer_to_main_loop",
    "BlockJobDeferToMainLoopFn",
    // From anywhere.
    "block_job_enter",
    "block_job_pause_all",
    "block_job_resume_all",
    // The types that signatures speak of.
    "BlockJob",
    "BlockJobType",
    "BlockCompletionFunc",
    "BlockErrorAction",
    "BlockdevOnError",
    "BlockDriverState",
    "AioContext",
    "CoroutineEntry",
    "QEMUClockType",
    // The public header.
    "block_job_next",
    "block_job_get",
    "block_job_add_bdrv",
    "block_job_remove_all_bdrv",
    "block_job_set_speed",
    "block_job_start",
    "block_job_cancel",
    "block_job_complete",
    "block_job_query",
    "block_job_user_pause",
    "block_job_user_paused",
    "block_job_user_resume",
    "block_job_cancel_sync",
    "block_job_cancel_sync_all",
    "block_job_complete_sync",
    "block_job_iostatus_reset",
    "block_job_txn_new",
    "block_job_txn_unref",
    "block_job_txn_add_job",
    "block_job_ref",
    "block_job_unref",
    "block_job_is_internal",
    // The job.
    "co",
    "busy",
    "paused",
    "pause_count",
    "user_paused",
    "cancelled",
    "ready",
    "deferred_to_main_loop",
    "completed",
    "ret",
    "iostatus",
    "refcnt",
    "txn",
    "offset",
    "len",
    "id",
    "blk",
    "blocker",
    "nodes",
];

/// How something may be checked, and what its label must then name.
const KINDS: &[(&str, Kind)] = &[
    ("explorer", Kind::Property),
    ("liveness", Kind::Property),
    ("any number", Kind::Property),
    ("loom", Kind::Harness),
    ("shuttle", Kind::Harness),
    ("typestate", Kind::CompileFail),
    ("test", Kind::Test),
    ("proptest", Kind::Test),
    ("assertion", Kind::Item),
    ("language", Kind::Item),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A property of the specification: its name under the row's number.
    Property,
    /// A harness of the proofs, with the bound that its executions are pinned with.
    Harness,
    /// A program that must not compile.
    CompileFail,
    /// A test function.
    Test,
    /// Anything that is defined there.
    Item,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page, as text and by its place.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn of(path: &str) -> Page {
        let path = root().join(path);
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
        Page { path, text }
    }

    /// A page that stands beside the others.
    fn forged(text: &str) -> Page {
        Page {
            path: root().join("docs/forged.md"),
            text: text.to_owned(),
        }
    }

    /// Where a link of this page leads; `None` for other sites and for places in the page itself.
    fn target(&self, link: &str) -> Option<PathBuf> {
        let file = link.split('#').next().unwrap_or_default();
        if file.is_empty() || link.contains("://") || link.starts_with("mailto:") {
            return None;
        }
        let mut target = self.path.parent().unwrap_or(root()).to_path_buf();
        for part in Path::new(file).components() {
            match part {
                Component::ParentDir => drop(target.pop()),
                part => target.push(part),
            }
        }
        Some(target)
    }

    /// The rows of the tables with this heading, as cells.
    fn rows(&self, heading: &[&str]) -> Result<Vec<Vec<String>>, String> {
        let mut rows = Vec::new();
        let mut ours = false;
        for line in self.text.lines() {
            if !line.starts_with('|') {
                ours = false;
                continue;
            }
            let cells = cells(line);
            if cells == heading {
                ours = true;
            } else if ours && !cells.iter().all(|cell| is_rule(cell)) {
                if cells.len() != heading.len() {
                    let count = heading.len();
                    return Err(format!("not {count} cells: {line}"));
                }
                if let Some(blank) = cells.iter().position(|cell| is_blank(cell)) {
                    return Err(format!("blank under `{}`: {line}", heading[blank]));
                }
                rows.push(cells);
            }
        }
        Ok(rows)
    }
}

fn is_rule(cell: &str) -> bool {
    !cell.is_empty() && cell.bytes().all(|byte| matches!(byte, b'-' | b':'))
}

fn is_blank(cell: &str) -> bool {
    matches!(cell, "" | "-" | "–" | "—" | "?" | "TODO")
}

/// The cells of a row; a bar inside one is written `\|`.
fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|');
    let inner = inner.strip_suffix('|').unwrap_or(inner);
    let masked = inner.replace("\\|", "\u{0}");
    let cell = |cell: &str| cell.replace('\u{0}', "|").trim().to_owned();
    masked.split('|').map(cell).collect()
}

/// The links of a text: label and target.
fn links(text: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    let mut rest = text;
    while let Some(middle) = rest.find("](") {
        let (before, after) = (&rest[..middle], &rest[middle + 2..]);
        let end = after.find(')').unwrap_or(after.len());
        if let Some(start) = before.rfind('[') {
            links.push((&before[start + 1..], &after[..end]));
        }
        rest = &after[end..];
    }
    links
}

/// What stands in backticks.
fn code(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The links of a cell whose label is code, each with its file.
fn references<'a>(page: &Page, cell: &'a str) -> Result<Vec<(&'a str, PathBuf)>, String> {
    links(cell)
        .into_iter()
        .filter_map(|(label, link)| Some((label.strip_prefix('`')?.strip_suffix('`')?, link)))
        .map(|(label, link)| {
            let target = page
                .target(link)
                .ok_or_else(|| format!("`{label}` leads to no file"))?;
            Ok((label, target))
        })
        .collect()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Lines without their visibility, comments left out.
fn code_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter_map(|line| {
        if line.starts_with("//") {
            return None;
        }
        let line = line.strip_prefix("pub").map_or(line, |rest| {
            let rest = rest.strip_prefix('(').map_or(rest, |inner| {
                inner.split_once(')').map_or("", |(_, rest)| rest)
            });
            rest.trim_start()
        });
        Some(line)
    })
}

/// `line` says `what name`, and the name ends there.
fn says(line: &str, what: &str, name: &str) -> bool {
    line.strip_prefix(what)
        .map(str::trim_start)
        .and_then(|rest| rest.strip_prefix(name))
        .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
}

/// Whether the text defines the last part of `label`, and knows the type that goes before it.
fn defines(text: &str, label: &str) -> bool {
    let mut parts = label.rsplit("::");
    let (name, owner) = (parts.next().unwrap_or_default(), parts.next());
    let kinds = [
        "fn ",
        "const fn ",
        "struct ",
        "enum ",
        "trait ",
        "type ",
        "mod ",
        "const ",
        "static ",
        "macro_rules! ",
    ];
    let member = owner.is_some_and(|owner| owner.starts_with(char::is_uppercase));
    let defined = code_lines(text).any(|line| {
        kinds.iter().any(|kind| says(line, kind, name))
            // A field or a variant.
            || member && says(line, "", name) && {
                let rest = line[name.len()..].trim_start();
                rest.is_empty() || rest.starts_with([':', ',', '{', '(', '='])
            }
    });
    let owned = |owner: &str| {
        code_lines(text).any(|line| {
            ["struct ", "enum ", "trait "]
                .iter()
                .any(|kind| says(line, kind, owner))
                || line.starts_with("impl")
                    && line
                        .split(|next: char| !next.is_alphanumeric() && next != '_')
                        .any(|word| word == owner)
        })
    };
    defined && owner.is_none_or(|owner| !member || owned(owner))
}

/// Whether the text has a test of this name, ignored ones excepted.
fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(place, line)| {
        says(line, "fn ", name) && {
            let attributes = lines[..place]
                .iter()
                .rev()
                .take_while(|line| line.starts_with("#[") || line.starts_with("//"));
            let attributes: Vec<_> = attributes.collect();
            attributes.contains(&&"#[test]")
                && !attributes.iter().any(|line| line.starts_with("#[ignore"))
        }
    })
}

/// One of the programs that must not compile.
fn is_program(file: &Path) -> bool {
    file.parent()
        .is_some_and(|folder| folder.ends_with("compile_fail"))
}

/// What a cell of tests promises is there.
fn is_a_test(label: &str, file: &Path) -> Result<(), String> {
    let text = read(file)?;
    let name = label.rsplit("::").next().unwrap_or_default();
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    if is_program(file) {
        // A program of its own, with the compiler's answer beside it.
        return if label == format!("compile_fail::{stem}") && file.with_extension("stderr").exists()
        {
            Ok(())
        } else {
            Err(format!("`{label}` is no program that must not compile"))
        };
    }
    let folder = file.parent().and_then(Path::file_name);
    let stem = match folder {
        // A test that is a folder is called by it.
        Some(folder) if stem == "main" => folder.to_string_lossy(),
        _ => stem,
    };
    if !label.starts_with(&format!("{stem}::")) {
        return Err(format!("`{label}` is not called by its file, {stem}"));
    }
    if has_test(&text, name) {
        Ok(())
    } else {
        Err(format!("no test `{name}` in {}", file.display()))
    }
}

fn is_an_item(label: &str, file: &Path) -> Result<(), String> {
    if defines(&read(file)?, label) {
        Ok(())
    } else {
        Err(format!("nothing defines `{label}` in {}", file.display()))
    }
}

const SEED_HEADING: &[&str] = &[
    "seed name",
    "what it was for",
    "ours",
    "where it differs, and why",
    "test",
];

/// The names under which somebody who knows the seed looks for ours: its functions and its types.
fn is_searched_for(name: &str) -> bool {
    name.starts_with("block_job_") || name.starts_with(char::is_uppercase)
}

/// Everything that is wrong with the page of the seed.
fn judge_seed(page: &Page) -> Vec<String> {
    let rows = match page.rows(SEED_HEADING) {
        Ok(rows) => rows,
        Err(wrong) => return vec![wrong],
    };
    let mut wrong = Vec::new();
    let mut rows_of: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        let names = code(&row[0]);
        for name in &names {
            *rows_of.entry(name).or_default() += 1;
        }
        let mut found = |what: &str, cell: &str, judge: fn(&str, &Path) -> Result<(), String>| {
            let judged = references(page, cell).and_then(|references| {
                if references.is_empty() {
                    return Err(format!("names no {what}"));
                }
                references
                    .iter()
                    .try_for_each(|(label, file)| judge(label, file))
            });
            wrong.extend(judged.err().map(|why| format!("{names:?}: {why}")));
        };
        found("item", &row[2], is_an_item);
        found("test", &row[4], is_a_test);
        for name in names.iter().filter(|name| is_searched_for(name)) {
            let alias = format!("#[doc(alias = \"{name}\")]");
            let files = references(page, &row[2]).unwrap_or_default();
            let led =
                |(_, file): &(&str, PathBuf)| read(file).is_ok_and(|text| text.contains(&alias));
            if !files.iter().any(led) {
                wrong.push(format!("`{name}` is no alias in the documentation of ours"));
            }
        }
    }
    for name in SEED {
        let rows = rows_of.remove(name).unwrap_or_default();
        if rows != 1 {
            wrong.push(format!("`{name}` has {rows} rows"));
        }
    }
    wrong.extend(
        rows_of
            .keys()
            .map(|name| format!("`{name}` is not of the seed")),
    );
    wrong
}

const PROPERTIES_HEADING: &[&str] = &["#", "name", "statement", "checked by", "check", "bound"];

/// The numbers that must have a row: P1 to P48, and what the specification adds.
fn numbers() -> Vec<String> {
    let explored = property::ALL.iter().map(|property| property.id);
    let added = explored.filter(|id| !id.starts_with('P'));
    (1..=48)
        .map(|number| format!("P{number}"))
        .chain(added.map(str::to_owned))
        .collect()
}

/// The name under which the specification checks it, and how.
fn name_of(id: &str) -> Option<(&'static str, &'static str)> {
    let safe = property::ALL.iter().find(|property| property.id == id);
    let lively = liveness::ALL.iter().find(|property| property.id == id);
    safe.map(|property| (property.name, "explorer"))
        .or(lively.map(|property| (property.name, "liveness")))
}

/// The bound that a harness is pinned with, in words.
fn bound_of_harness(label: &str, tool: &str) -> Result<&'static str, String> {
    let executions = read(&root().join("proofs/executions.txt"))?;
    let pinned = executions
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        // Of a harness that is cut into parts, the first ones are pinned by themselves: NAME:PARTS.
        .find(|words| {
            let name = words.first().and_then(|word| word.split(':').next());
            name == Some(label)
        })
        .ok_or_else(|| format!("no harness `{label}` in proofs/executions.txt"))?;
    if pinned[1] != tool {
        return Err(format!("`{label}` is a harness of {}", pinned[1]));
    }
    match pinned[2] {
        "none" => Ok("no bound on preemptions"),
        "1" => Ok("one preemption"),
        "2" => Ok("two preemptions"),
        "3" => Ok("three preemptions"),
        "-" => Ok("schedules at random"),
        other => Err(format!(
            "`{label}` has a bound nobody has words for: {other}"
        )),
    }
}

/// One check of a property.
fn judge_check(
    page: &Page,
    (id, name): (&str, &str),
    (by, check, bound): (&str, &str, &str),
) -> Result<(), String> {
    let kind = KINDS
        .iter()
        .find(|(known, _)| *known == by)
        .map(|(_, kind)| *kind)
        .ok_or_else(|| format!("`{by}` is no way to check"))?;
    if is_blank(bound) || is_blank(check) {
        return Err(format!("{by}: a check without words or bound"));
    }
    let references = references(page, check)?;
    if references.is_empty() {
        return Err(format!("{by}: names nothing"));
    }
    for (label, file) in references {
        match kind {
            Kind::Property => {
                let (home, defined) = match by {
                    "explorer" => ("model/src/property.rs", name_of(id)),
                    "liveness" => ("model/src/explore/liveness.rs", name_of(id)),
                    _ => ("model/src/crowd.rs", name_of(id)),
                };
                if label != name || defined.is_none_or(|(defined, _)| defined != label) {
                    return Err(format!("`{label}` is not what the specification calls it"));
                }
                if !file.ends_with(home) || !read(&file)?.contains(&format!("\"{id}\"")) {
                    return Err(format!("`{label}` is not asked there"));
                }
            }
            Kind::Harness => {
                let words = bound_of_harness(label, by)?;
                if !bound.contains(words) {
                    return Err(format!("the bound of `{label}` is {words}, not {bound}"));
                }
                if !read(&file)?.contains(&format!("\"{label}\"")) {
                    return Err(format!("no harness `{label}` in {}", file.display()));
                }
            }
            Kind::CompileFail | Kind::Test => is_a_test(label, &file)?,
            Kind::Item => is_an_item(label, &file)?,
        }
        if is_program(&file) != (kind == Kind::CompileFail) {
            return Err(format!("`{label}` is not checked by {by}"));
        }
        if by == "proptest" && !read(&file)?.contains("proptest") {
            return Err(format!("`{label}` draws nothing at random"));
        }
    }
    Ok(())
}

/// Everything that is wrong with the page of the properties.
fn judge_properties(page: &Page) -> Vec<String> {
    let rows = match page.rows(PROPERTIES_HEADING) {
        Ok(rows) => rows,
        Err(wrong) => return vec![wrong],
    };
    let mut wrong = Vec::new();
    let ids: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    if ids != numbers() {
        let (ids, due): (BTreeSet<_>, BTreeSet<_>) = (
            ids.into_iter().map(str::to_owned).collect(),
            numbers().into_iter().collect(),
        );
        let missing: Vec<_> = due.difference(&ids).collect();
        let strange: Vec<_> = ids.difference(&due).collect();
        wrong.push(format!(
            "the rows are not P1 to P48 and the others of property::ALL in their order: \
             missing {missing:?}, strange {strange:?}"
        ));
    }
    for row in &rows {
        let id = row[0].as_str();
        let name = row[1].trim_matches('`');
        let parts: Vec<Vec<&str>> = row[3..6]
            .iter()
            .map(|cell| cell.split("<br>").map(str::trim).collect())
            .collect();
        if parts.iter().any(|cell| cell.len() != parts[0].len()) {
            wrong.push(format!("{id}: not as many checks as ways and bounds"));
            continue;
        }
        for ((by, check), bound) in parts[0].iter().zip(&parts[1]).zip(&parts[2]) {
            let judged = judge_check(page, (id, name), (by, check, bound));
            wrong.extend(judged.err().map(|why| format!("{id}: {why}")));
        }
        if name_of(id).is_some_and(|(known, by)| known != name || !parts[0].contains(&by)) {
            wrong.push(format!(
                "{id}: the specification checks it, by another name"
            ));
        }
        let of_crowds = crowd::properties().iter().any(|asked| asked.id == id);
        if of_crowds != parts[0].contains(&"any number") {
            wrong.push(format!(
                "{id}: is asked of crowds, and is not said to be, or not"
            ));
        }
    }
    wrong
}

const CONTRACT_HEADING: &[&str] = &["the contract says", "check", "bound"];

/// Everything that is wrong with the page of the contract's checks.
fn judge_contract(page: &Page) -> Vec<String> {
    let rows = match page.rows(CONTRACT_HEADING) {
        Ok(rows) => rows,
        Err(wrong) => return vec![wrong],
    };
    let one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let contract = one_line(&Page::of("docs/CONTRACT.md").text);
    let mut wrong = Vec::new();
    for row in &rows {
        let rule = &row[0];
        if !contract.contains(&one_line(rule)) {
            wrong.push(format!("`{rule}`: the contract has no such words"));
        }
        let judged = references(page, &row[1]).and_then(|tests| {
            if tests.is_empty() {
                return Err("names no test".to_owned());
            }
            tests
                .iter()
                .try_for_each(|(label, file)| is_a_test(label, file))
        });
        wrong.extend(judged.err().map(|why| format!("`{rule}`: {why}")));
    }
    if rows.len() < 40 {
        wrong.push(format!("only {} rules", rows.len()));
    }
    wrong
}

/// Links of a page that lead to no file.
fn dead_links(page: &Page) -> Vec<String> {
    links(&page.text)
        .into_iter()
        .filter_map(|(label, link)| {
            let target = page.target(link)?;
            (!target.exists()).then(|| format!("[{label}]({link}) leads nowhere"))
        })
        .collect()
}

#[test]
fn the_seed_s_names_lead_to_ours_and_to_a_test() {
    let wrong = judge_seed(&Page::of("docs/seed.md"));
    assert!(wrong.is_empty(), "docs/seed.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_property_names_its_checks() {
    let wrong = judge_properties(&Page::of("docs/properties.md"));
    assert!(
        wrong.is_empty(),
        "docs/properties.md:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn every_rule_of_the_contract_for_copies_names_its_tests() {
    let wrong = judge_contract(&Page::of("docs/contract-checks.md"));
    assert!(
        wrong.is_empty(),
        "docs/contract-checks.md:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn no_page_has_a_link_that_leads_nowhere() {
    let docs = fs::read_dir(root().join("docs")).expect("docs can be listed");
    let mut pages: Vec<String> = docs
        .map(|entry| entry.expect("an entry can be read").file_name())
        .filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "md"))
        .map(|name| format!("docs/{}", name.to_string_lossy()))
        .collect();
    assert!(pages.len() > 5, "{pages:?}");
    pages.extend(["README.md", "CHANGELOG.md", "proofs/README.md"].map(str::to_owned));
    for page in pages {
        let dead = dead_links(&Page::of(&page));
        assert!(dead.is_empty(), "{page}:\n{}", dead.join("\n"));
    }
}

/// A mistake in a page: what is replaced, by what, and a word of the complaint.
type Mistake = (&'static str, &'static str, &'static str);

fn each_is_seen(page: &str, mistakes: &[Mistake], judge: fn(&Page) -> Vec<String>) {
    let sound = Page::of(page).text;
    for (from, to, complaint) in mistakes {
        assert!(sound.contains(from), "{page} has no {from}");
        let wrong = judge(&Page::forged(&sound.replacen(from, to, 1)));
        assert!(
            wrong.iter().any(|wrong| wrong.contains(complaint)),
            "{from} → {to}: {wrong:?}"
        );
    }
}

#[test]
fn each_kind_of_mistake_about_the_seed_is_seen() {
    let mistakes: &[Mistake] = &[
        (
            "`engine_lifecycle::pause_parks",
            "`engine_lifecycle::pawns_park",
            "no test",
        ),
        (
            "tests/engine_lifecycle.rs",
            "tests/engine_deathcycle.rs",
            "engine_deathcycle",
        ),
        (
            "`engine_lifecycle::",
            "`engine_edges::",
            "not called by its file",
        ),
        ("`Driver::pause`", "`Driver::paws`", "nothing defines"),
        ("`Driver::pause`", "`Conductor::pause`", "nothing defines"),
        (
            "| `block_job_yield`",
            "| `block_job_shield`",
            "`block_job_yield` has 0 rows",
        ),
        (
            "| `block_job_yield`",
            "| `block_job_shield`",
            "`block_job_shield` is not of the seed",
        ),
        (
            "| `block_job_yield`",
            "| `block_job_enter`",
            "`block_job_enter` has 2 rows",
        ),
    ];
    each_is_seen("docs/seed.md", mistakes, judge_seed);
    let blank = "| seed name | what it was for | ours | where it differs, and why | test |\n\
                 |---|---|---|---|---|\n| `co` | a coroutine | | | |\n";
    let wrong = judge_seed(&Page::forged(blank));
    assert!(wrong[0].starts_with("blank under `ours`"), "{wrong:?}");
}

#[test]
fn each_kind_of_mistake_about_the_properties_is_seen() {
    let mistakes: &[Mistake] = &[
        ("| P7 |", "| P49 |", "missing [\"P7\"], strange [\"P49\"]"),
        (
            "| `table` |",
            "| `chair` |",
            "P1: `table` is not what the specification calls it",
        ),
        (
            "[`table`]",
            "[`chair`]",
            "P1: `chair` is not what the specification calls it",
        ),
        (
            "[`cancel-rises`](../model/src/property.rs)",
            "[`cancel-rises`](../README.md)",
            "P6: `cancel-rises` is not asked there",
        ),
        ("| explorer<br>", "| exploiter<br>", "no way to check"),
        ("| explorer<br>", "| test<br>", "P1: "),
        ("`pause-is-seen`", "`pause-is-sent`", "no harness"),
        ("no bound on preemptions", "two preemptions", "the bound of"),
        (
            "| loom<br>shuttle",
            "| shuttle<br>shuttle",
            "is a harness of loom",
        ),
        (
            "`compile_fail::commit_and_abort`",
            "`compile_fail::commit_or_abort`",
            "no program that must not compile",
        ),
        (
            "| explorer<br>",
            "| explorer<br>test<br>",
            "not as many checks",
        ),
    ];
    each_is_seen("docs/properties.md", mistakes, judge_properties);
    let dead = dead_links(&Page::forged(
        "see [this](../nowhere.md) and [that](seed.md#top)",
    ));
    assert_eq!(dead, ["[this](../nowhere.md) leads nowhere"]);
}

#[test]
fn each_kind_of_mistake_about_the_contract_is_seen() {
    let mistakes: &[Mistake] = &[
        (
            "| Each target changes atomically |",
            "| Each target changes now and then |",
            "the contract has no such words",
        ),
        (
            "`copy_refused::a_locked_target`",
            "`copy_refused::a_blocked_target`",
            "no test `a_blocked_target`",
        ),
        (
            "`copy_refused::a_locked_target`",
            "`copy_files::a_locked_target`",
            "not called by its file",
        ),
        (
            "[`copy_killed::what_was_written_is_not_copied_again`](../tests/copy_killed.rs)",
            "by looking",
            "names no test",
        ),
        ("| one link |", "| |", "blank under `bound`"),
    ];
    each_is_seen("docs/contract-checks.md", mistakes, judge_contract);
}

#[test]
fn what_is_looked_for_is_told_from_what_is_not() {
    let text = "/// fn spoken\nimpl Job {\n    pub(super) fn stop(&self) {}\n}\nenum Way {\n    Left,\n}\n\
                #[test]\nfn tested() {}\n#[test]\n#[ignore = \"slow\"]\nfn ignored() {}\nfn plain() {}\n";
    assert!(defines(text, "Job::stop") && defines(text, "stop") && defines(text, "Way::Left"));
    assert!(!defines(text, "spoken") && !defines(text, "Way::Right") && !defines(text, "sto"));
    assert!(!defines(text, "Left"), "a variant is called with its type");
    assert!(!defines(text, "Gob::stop"));
    assert!(has_test(text, "tested"));
    assert!(!has_test(text, "ignored") && !has_test(text, "plain") && !has_test(text, "test"));
}
