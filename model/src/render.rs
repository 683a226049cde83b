//! The tables as people and programs read them: text, Mermaid, DOT and JSON.
//!
//! Everything is drawn from the tables themselves ([`crate::status`], [`crate::verb`],
//! [`crate::lifecycle`]) and the profile, so a picture cannot say something else than the code.
//! What is refused is drawn as visibly as what is allowed.
//!
//! The page about the profiles is drawn in [`profiles`].

pub mod profiles;

use core::fmt::Write as _;

use crate::lifecycle::Lifecycle;
use crate::profile::Profile;
use crate::status::Status;
use crate::verb::Verb;

/// What makes a job change its status (SEMANTICS.md §1b, "who performs each").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is created.
    Create,
    /// It is started.
    Start,
    /// Its creation is given up.
    EarlyFail,
    /// A pause point acknowledges a pause.
    Park,
    /// A pause point is left.
    Unpark,
    /// The driver has converged.
    Converge,
    /// The run ended well and the main loop took it over.
    RunWell,
    /// The run failed or was cancelled, or the job was cancelled before it started.
    FailOrCancel,
    /// Every member of the transaction waits.
    AllWait,
    /// Cancelled, or brought down by a peer, or a prepare failed.
    BroughtDown,
    /// Committed, or aborted, cleaned, and announced.
    Conclude,
    /// Dismissed, by its user or by itself.
    Dismiss,
}

impl Cause {
    /// Every cause, in the order of a job's life.
    pub const ALL: [Cause; 12] = [
        Cause::Create,
        Cause::Start,
        Cause::EarlyFail,
        Cause::Park,
        Cause::Unpark,
        Cause::Converge,
        Cause::RunWell,
        Cause::FailOrCancel,
        Cause::AllWait,
        Cause::BroughtDown,
        Cause::Conclude,
        Cause::Dismiss,
    ];

    /// A short name.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Create => "create",
            Cause::Start => "start",
            Cause::EarlyFail => "early-fail",
            Cause::Park => "park",
            Cause::Unpark => "unpark",
            Cause::Converge => "converge",
            Cause::RunWell => "run-well",
            Cause::FailOrCancel => "fail-or-cancel",
            Cause::AllWait => "all-wait",
            Cause::BroughtDown => "brought-down",
            Cause::Conclude => "conclude",
            Cause::Dismiss => "dismiss",
        }
    }

    /// What makes a job go from one status to another, if the table lets it.
    pub const fn of(from: Status, to: Status) -> Option<Cause> {
        if !from.may_become(to) {
            return None;
        }
        Some(match (from, to) {
            (_, Status::Created) => Cause::Create,
            (Status::Created, Status::Running) => Cause::Start,
            (Status::Created, Status::Null) => Cause::EarlyFail,
            (_, Status::Paused | Status::Standby) => Cause::Park,
            (Status::Running, Status::Ready) => Cause::Converge,
            (_, Status::Running | Status::Ready) => Cause::Unpark,
            (_, Status::Waiting) => Cause::RunWell,
            (Status::Created | Status::Running | Status::Ready, _) => Cause::FailOrCancel,
            (_, Status::Pending) => Cause::AllWait,
            (_, Status::Aborting) => Cause::BroughtDown,
            (_, Status::Concluded) => Cause::Conclude,
            (_, Status::Null | Status::Undefined) => Cause::Dismiss,
        })
    }
}

/// Every pair of statuses the table allows, in its order.
fn transitions() -> impl Iterator<Item = (Status, Status)> {
    Status::ALL
        .into_iter()
        .flat_map(|from| Status::ALL.map(|to| (from, to)))
        .filter(|(from, to)| from.may_become(*to))
}

/// Every step of the coarse machine, in its order.
fn lifecycle() -> impl Iterator<Item = (Lifecycle, Lifecycle)> {
    Lifecycle::ALL
        .into_iter()
        .flat_map(|from| from.next().iter().map(move |&to| (from, to)))
}

/// A table with a corner, a head of columns, and a line a row.
fn grid(corner: &str, heads: &[&str], rows: impl Iterator<Item = (String, Vec<String>)>) -> String {
    let rows: Vec<_> = rows.collect();
    let first = rows
        .iter()
        .map(|(name, _)| name.len())
        .chain([corner.len()])
        .max()
        .unwrap_or_default();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| {
            let cells = rows.iter().map(|(_, cells)| cells[at].len());
            cells.chain([head.len()]).max().unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    let mut line = |name: &str, cells: &mut dyn Iterator<Item = &str>| {
        let mut line = format!("{name:first$}");
        for (cell, width) in cells.zip(&widths) {
            let _ = write!(line, "  {cell:width$}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    line(corner, &mut heads.iter().copied());
    for (name, cells) in &rows {
        line(name, &mut cells.iter().map(String::as_str));
    }
    text
}

/// What becomes of a job in each status when each cause meets it; `.` = it cannot.
pub fn event_matrix() -> String {
    let heads = Cause::ALL.map(Cause::name);
    grid(
        "status",
        &heads,
        Status::ALL.into_iter().map(|from| {
            let cells = Cause::ALL.into_iter().map(|cause| {
                let to = Status::ALL
                    .into_iter()
                    .find(|&to| Cause::of(from, to) == Some(cause));
                to.map_or(".", Status::name).to_owned()
            });
            (from.name().to_owned(), cells.collect())
        }),
    )
}

/// Which verb each status lets through: `yes`, or `.` for a refusal.
pub fn verb_matrix(profile: &Profile) -> String {
    let heads = Verb::ALL.map(Verb::name);
    grid(
        "status",
        &heads,
        Status::ALL.into_iter().map(|status| {
            let cells = Verb::ALL.into_iter().map(|verb| {
                let permitted = profile.permits(verb, status);
                if permitted { "yes" } else { "." }.to_owned()
            });
            (status.name().to_owned(), cells.collect())
        }),
    )
}

/// Which stage of the coarse lifecycle may follow which: `yes`, or `.`.
pub fn lifecycle_matrix() -> String {
    let heads = Lifecycle::ALL.map(Lifecycle::name);
    grid(
        "stage",
        &heads,
        Lifecycle::ALL.into_iter().map(|from| {
            let cells = Lifecycle::ALL.into_iter().map(|to| {
                let may = from.may_become(to);
                if may { "yes" } else { "." }.to_owned()
            });
            (from.name().to_owned(), cells.collect())
        }),
    )
}

/// The three tables and what the profile answers where implementations differ, for people.
pub fn text(profile: &Profile) -> String {
    format!(
        "Profile {}: {}\n\n\
         What becomes of a job in each status (`.` cannot happen; aborting → aborting is silent)\n\n\
         {}\n\
         Which verbs each status accepts (`.` is refused)\n\n\
         {}\n\
         Which stage of the coarse lifecycle may follow which (converged, prepared and failed \
         have no name in the users' picture)\n\n\
         {}\n\
         {}",
        profile.name,
        profile.summary,
        event_matrix(),
        verb_matrix(profile),
        lifecycle_matrix(),
        profiles::text(profile),
    )
}

/// The verbs a status accepts, for its label in a diagram.
fn accepted(profile: &Profile, status: Status) -> String {
    let verbs: Vec<_> = Verb::ALL
        .into_iter()
        .filter(|&verb| profile.permits(verb, status))
        .map(Verb::name)
        .collect();
    verbs.join(", ")
}

/// Two state diagrams for Mermaid, the statuses with their verbs and the coarse lifecycle.
pub fn mermaid(profile: &Profile) -> String {
    let mut text = format!(
        "---\ntitle: statuses ({})\n---\nstateDiagram-v2\n    [*] --> undefined\n",
        profile.name
    );
    for (from, to) in transitions() {
        let cause = Cause::of(from, to).map_or("", Cause::name);
        let _ = writeln!(text, "    {from} --> {to}: {cause}");
    }
    let _ = writeln!(text, "    null --> [*]");
    for status in Status::ALL {
        let verbs = accepted(profile, status);
        if !verbs.is_empty() {
            let _ = writeln!(text, "    note right of {status}: {verbs}");
        }
    }
    text.push_str("\n---\ntitle: lifecycle\n---\nstateDiagram-v2\n    [*] --> created\n");
    for (from, to) in lifecycle() {
        let _ = writeln!(text, "    {} --> {}", identifier(from), identifier(to));
    }
    let _ = writeln!(text, "    cleaned --> [*]");
    text
}

/// A stage's name where no blanks are allowed.
fn identifier(stage: Lifecycle) -> String {
    stage
        .name()
        .chars()
        .filter(|letter| !matches!(letter, '(' | ')'))
        .map(|letter| if letter == ' ' { '_' } else { letter })
        .collect()
}

/// One graph for Graphviz with a cluster for the statuses and one for the coarse lifecycle.
pub fn dot(profile: &Profile) -> String {
    let mut text = format!(
        "digraph \"{}\" {{\n    rankdir=LR;\n    subgraph cluster_statuses {{\n        label=\"statuses\";\n",
        profile.name
    );
    for status in Status::ALL {
        let verbs = accepted(profile, status).replace(", ", "\\n");
        let label = if verbs.is_empty() {
            status.name().to_owned()
        } else {
            format!("{status}\\n\\n{verbs}")
        };
        let _ = writeln!(text, "        {status} [label=\"{label}\"];");
    }
    for (from, to) in transitions() {
        let cause = Cause::of(from, to).map_or("", Cause::name);
        let _ = writeln!(text, "        {from} -> {to} [label=\"{cause}\"];");
    }
    text.push_str("    }\n    subgraph cluster_lifecycle {\n        label=\"lifecycle\";\n");
    for stage in Lifecycle::ALL {
        let style = if stage.is_between() {
            "dashed"
        } else {
            "solid"
        };
        let _ = writeln!(
            text,
            "        l_{} [label=\"{stage}\", style={style}];",
            identifier(stage)
        );
    }
    for (from, to) in lifecycle() {
        let _ = writeln!(
            text,
            "        l_{} -> l_{};",
            identifier(from),
            identifier(to)
        );
    }
    text.push_str("    }\n}\n");
    text
}

/// The tables for programs: one JSON object, the allowed cells only, names as in QMP.
///
/// `{"profile", "transitions": [{"from", "to"}], "verbs": [{"verb", "status"}],
/// "lifecycle": [{"from", "to"}], "aspects": {name: value}, "differences": [number]}`. Names hold
/// no character that JSON would escape.
pub fn json(profile: &Profile) -> String {
    let pairs: Vec<_> = transitions()
        .map(|(from, to)| format!("{{\"from\":\"{from}\",\"to\":\"{to}\"}}"))
        .collect();
    let verbs: Vec<_> = Verb::ALL
        .into_iter()
        .flat_map(|verb| Status::ALL.map(|status| (verb, status)))
        .filter(|&(verb, status)| profile.permits(verb, status))
        .map(|(verb, status)| format!("{{\"verb\":\"{verb}\",\"status\":\"{status}\"}}"))
        .collect();
    let stages: Vec<_> = lifecycle()
        .map(|(from, to)| format!("{{\"from\":\"{from}\",\"to\":\"{to}\"}}"))
        .collect();
    format!(
        "{{\"profile\":\"{}\",\"transitions\":[{}],\"verbs\":[{}],\"lifecycle\":[{}],{}}}",
        profile.name,
        pairs.join(","),
        verbs.join(","),
        stages.join(","),
        profiles::json(profile)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_meets_each_cause_in_one_way_only() {
        for from in Status::ALL {
            for cause in Cause::ALL {
                let ways = Status::ALL
                    .into_iter()
                    .filter(|&to| Cause::of(from, to) == Some(cause))
                    .count();
                assert!(ways <= 1, "{from} {}", cause.name());
            }
        }
    }

    #[test]
    fn every_transition_has_a_cause_and_every_cause_a_transition() {
        assert_eq!(transitions().count(), 20);
        for cause in Cause::ALL {
            assert!(transitions().any(|(from, to)| Cause::of(from, to) == Some(cause)));
        }
    }

    #[test]
    fn json_is_balanced_and_names_every_allowed_cell() {
        for profile in Profile::ALL {
            let json = json(profile);
            // What stands in quotes may hold brackets of its own, in pairs.
            let count = |letter: char| json.chars().filter(|&other| other == letter).count();
            assert_eq!(count('{'), count('}'));
            assert_eq!(count('['), count(']'));
            let permitted = Verb::ALL
                .into_iter()
                .flat_map(|verb| Status::ALL.map(|status| (verb, status)))
                .filter(|&(verb, status)| profile.permits(verb, status))
                .count();
            assert_eq!(json.matches("\"verb\":").count(), permitted);
            assert_eq!(
                json.matches("\"from\":").count(),
                transitions().count() + lifecycle().count()
            );
        }
    }
}
