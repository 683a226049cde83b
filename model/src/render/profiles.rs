//! The profiles as people and programs read them: a page of the documentation, and what one of
//! them answers where implementations differ.

use core::fmt::Write as _;

use crate::profile::{ASPECTS, Aspect, DIFFERENCES, Difference, Profile, RELEASES, Told, Where};

/// The tables of `docs/profiles.md`, in Markdown: everything that differs, the releases, and each
/// numbered departure of `reference` with an anchor (`#d7`).
pub fn page() -> String {
    let mut text = String::new();
    aspects(&mut text);
    releases(&mut text);
    departures(&mut text);
    text
}

/// A row of a Markdown table.
fn row(text: &mut String, cells: impl IntoIterator<Item = String>) {
    text.push('|');
    for cell in cells {
        let _ = write!(text, " {cell} |");
    }
    text.push('\n');
}

fn rule(text: &mut String, columns: usize) {
    text.push('|');
    text.push_str(&"---|".repeat(columns));
    text.push('\n');
}

fn aspects(text: &mut String) {
    text.push_str("## What differs\n\n");
    let mut heads = vec!["aspect".to_owned(), "what it is about".to_owned()];
    heads.extend(Profile::ALL.map(|profile| format!("`{}`", profile.name)));
    let columns = heads.len();
    row(text, heads);
    rule(text, columns);
    for aspect in ASPECTS {
        let mut cells = vec![
            match aspect.told {
                Told::Relation => format!("`{}`", aspect.name),
                Told::Oracle => format!("`{}` (oracle)", aspect.name),
                Told::Words => format!("*{}*", aspect.name),
            },
            format!("{} (§{}){}", aspect.about, aspect.section, links(aspect)),
        ];
        cells.extend(Profile::ALL.map(|profile| (aspect.value)(profile).to_owned()));
        row(text, cells);
    }
}

/// Links to the departures that show in an aspect, and what it breaks without being one.
fn links(aspect: &Aspect) -> String {
    let links: Vec<String> = DIFFERENCES
        .iter()
        .filter(|difference| match difference.shown {
            Where::Switches(switches) => switches.contains(&aspect.name),
            Where::Words(_) | Where::Nowhere => false,
        })
        .map(|difference| format!("[{0}](#d{0})", difference.number))
        .collect();
    let see = match links.as_slice() {
        [] => String::new(),
        links => format!(", see {}", links.join(", ")),
    };
    let see = match aspect.why {
        "" => see,
        why => format!("{see}, decision {why}"),
    };
    match aspect.breaks {
        [] => see,
        breaks => format!("{see}; the other way breaks {}", breaks.join(", ")),
    }
}

fn releases(text: &mut String) {
    text.push_str("\n## Which release is judged by which profile\n\n");
    row(
        text,
        ["release", "profile", "where it differs from that profile"].map(str::to_owned),
    );
    rule(text, 3);
    for release in RELEASES {
        row(
            text,
            [
                format!("{}.{}", release.major, release.minor),
                format!("`{}`", release.profile.name),
                release.differs.to_owned(),
            ],
        );
    }
}

fn departures(text: &mut String) {
    text.push_str("\n## Where `reference` departs from QEMU\n");
    for difference in DIFFERENCES {
        let number = difference.number;
        let _ = write!(
            text,
            "\n### <a id=\"d{number}\"></a>{number}. {}\n\n",
            sentence_case(difference.name)
        );
        let _ = writeln!(text, "- QEMU: {}", difference.qemu);
        let _ = writeln!(text, "- `reference`: {}", difference.reference);
        let _ = writeln!(text, "- Why: {}", difference.why);
        let _ = writeln!(text, "- {}", standing(difference));
    }
}

/// Where a difference shows, and in whom.
fn standing(difference: &Difference) -> String {
    let profiles: Vec<String> = difference
        .profiles
        .iter()
        .map(|name| format!("`{name}`"))
        .collect();
    let profiles = profiles.join(", ");
    match difference.shown {
        Where::Nowhere => "In no profile: nothing differs.".to_owned(),
        Where::Words(why) => format!("No switch: {why}. In {profiles}."),
        Where::Switches(switches) => {
            let switches: Vec<String> = switches.iter().map(|name| format!("`{name}`")).collect();
            let broken = if difference.breaks.is_empty() {
                String::new()
            } else {
                format!(
                    " The explorer sees it break {}.",
                    difference.breaks.join(", ")
                )
            };
            format!("Switch {}; in {profiles}.{broken}", switches.join(", "))
        }
    }
}

fn sentence_case(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// What a profile answers where implementations differ, for people.
pub(super) fn text(profile: &Profile) -> String {
    let values = ASPECTS.iter().map(|aspect| (aspect.value)(profile).len());
    let values = values.max().unwrap_or_default();
    let names = ASPECTS.iter().map(|aspect| aspect.name.len());
    let names = names.max().unwrap_or_default();
    let mut text = String::from(
        "What it answers where implementations differ (docs/profiles.md has all of them side by \
         side)\n\n",
    );
    for aspect in ASPECTS {
        let _ = writeln!(
            text,
            "{:names$}  {:values$}  {}",
            aspect.name,
            (aspect.value)(profile),
            aspect.about,
        );
    }
    let mut differences = profile.differences().peekable();
    if differences.peek().is_some() {
        text.push_str(
            "\nWhere it departs from `reference` (numbers of DECISIONS.md; docs/profiles.md says why)\n\n",
        );
        for difference in differences {
            let _ = writeln!(text, "{:>2}  {}", difference.number, difference.name);
        }
    }
    text
}

/// The same for programs: the members `switches` and `differences` of an object.
pub(super) fn json(profile: &Profile) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let switches: Vec<String> = ASPECTS
        .iter()
        .map(|aspect| {
            format!(
                "\"{}\":\"{}\"",
                aspect.name,
                quoted((aspect.value)(profile))
            )
        })
        .collect();
    let differences: Vec<String> = profile
        .differences()
        .map(|difference| difference.number.to_string())
        .collect();
    format!(
        "\"aspects\":{{{}}},\"differences\":[{}]",
        switches.join(","),
        differences.join(",")
    )
}
