//! The diagram of the statuses, with the changes that a trace shows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blockjob_model::Status;

use crate::report::page::{begin_scroll, escape};

/// The style of the diagram.
pub(in crate::report) const STYLE: &str = "\
.diagram { display: block; width: 100%; min-width: 40rem; max-width: 64rem; height: auto; }
.diagram path { fill: none; stroke: var(--line); stroke-width: 1.5; }
.diagram path.taken { stroke: var(--link); stroke-width: 2.5; }
.diagram path.broke { stroke: var(--bad); stroke-width: 3; stroke-dasharray: 6 4; }
.diagram rect { fill: var(--raised); stroke: var(--line); }
.diagram .been rect { stroke: var(--link); stroke-width: 2; }
.diagram text { fill: var(--text); font: 13px system-ui, sans-serif; text-anchor: middle; }
.diagram text.times { font-size: 11px; fill: var(--link); paint-order: stroke; stroke: var(--back); stroke-width: 4px; }
.diagram marker path { fill: var(--line); stroke: none; }
.diagram marker.taken path { fill: var(--link); }
.diagram marker.broke path { fill: var(--bad); }
";

/// Half the width and height of a status, in the drawing's units.
const HALF: (f64, f64) = (44.0, 16.0);

/// The middle of a status.
const fn middle(status: Status) -> (f64, f64) {
    match status {
        Status::Undefined => (60.0, 45.0),
        Status::Created => (60.0, 150.0),
        Status::Running => (210.0, 150.0),
        Status::Paused => (210.0, 45.0),
        Status::Ready => (360.0, 150.0),
        Status::Standby => (360.0, 45.0),
        Status::Waiting => (520.0, 150.0),
        Status::Pending => (660.0, 150.0),
        Status::Aborting => (440.0, 265.0),
        Status::Concluded => (820.0, 150.0),
        Status::Null => (820.0, 45.0),
    }
}

/// Writes the diagram: how often each change happened, and the one that must not.
pub(in crate::report) fn write(
    page: &mut String,
    number: usize,
    edges: &BTreeMap<(Status, Status), u64>,
    broke: Option<(Status, Status)>,
) {
    let mut words: Vec<String> = edges
        .iter()
        .map(|((from, to), times)| format!("{from} to {to} {times} times"))
        .collect();
    if let Some((from, to)) = broke {
        words.push(format!("{from} to {to}, which must not be"));
    }
    begin_scroll(page, "The statuses");
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "<svg class=\"diagram\" viewBox=\"0 -24 880 334\" role=\"img\" aria-label=\"{}\">\n<defs>",
        escape(&words.join("; "))
    );
    for class in ["", "taken", "broke"] {
        let _ = writeln!(
            page,
            "<marker id=\"head-{number}-{class}\" class=\"{class}\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" \
             markerWidth=\"9\" markerHeight=\"9\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
             <path d=\"M0 0L8 4L0 8z\"/></marker>"
        );
    }
    page.push_str("</defs>\n");
    let mut labels = String::new();
    for from in Status::ALL {
        for to in Status::ALL {
            let times = edges.get(&(from, to)).copied().unwrap_or(0);
            let broken = broke == Some((from, to));
            if !(from.may_become(to) || times > 0 || broken) {
                continue;
            }
            let class = match (broken, times) {
                (true, _) => "broke",
                (false, 0) => "",
                (false, _) => "taken",
            };
            let (path, at) = route(from, to);
            let _ = writeln!(
                page,
                "<path class=\"{class}\" d=\"{path}\" marker-end=\"url(#head-{number}-{class})\"/>"
            );
            if times > 0 {
                let _ = writeln!(
                    labels,
                    "<text class=\"times\" x=\"{:.0}\" y=\"{:.0}\">{times}×</text>",
                    at.0,
                    at.1 + 4.0
                );
            }
        }
    }
    for status in Status::ALL {
        let (x, y) = middle(status);
        let been = edges
            .keys()
            .any(|(from, to)| *from == status || *to == status);
        let _ = writeln!(
            page,
            "<g class=\"{}\"><rect x=\"{:.0}\" y=\"{:.0}\" width=\"{:.0}\" height=\"{:.0}\" rx=\"5\"/>\
             <text x=\"{x:.0}\" y=\"{:.0}\">{status}</text></g>",
            if been { "been" } else { "" },
            x - HALF.0,
            y - HALF.1,
            2.0 * HALF.0,
            2.0 * HALF.1,
            y + 4.5
        );
    }
    page.push_str(&labels);
    page.push_str("</svg>\n</div>\n");
}

/// The way from a status to another, and a place on it for a label.
fn route(from: Status, to: Status) -> (String, (f64, f64)) {
    let (a, b) = (middle(from), middle(to));
    if from == to {
        let (x, y) = (a.0, a.1 + HALF.1);
        let path = format!(
            "M{:.0} {y:.0}C{:.0} {:.0} {:.0} {:.0} {:.0} {y:.0}",
            x - 16.0,
            x - 26.0,
            y + 34.0,
            x + 26.0,
            y + 34.0,
            x + 16.0
        );
        return (path, (x, y + 24.0));
    }
    if (from, to) == (Status::Created, Status::Null) {
        // Over everything.
        let path = "M95 134C130 20 150 -8 260 -8L700 -8C760 -8 805 0 812 29".to_owned();
        return (path, (440.0, -8.0));
    }
    // Under what stands between.
    let bend = match (from, to) {
        (Status::Running, Status::Waiting) => 40.0,
        _ if from.may_become(to) && to.may_become(from) => 16.0,
        _ if from.may_become(to) => 0.0,
        // What the table does not have stands beside what it has.
        _ => 34.0,
    };
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = dx.hypot(dy).max(1.0);
    // To the right of the way, seen along it; a negative bend is to the left.
    let (nx, ny) = (-dy / length, dx / length);
    let control = (
        f64::midpoint(a.0, b.0) + nx * bend * 2.0,
        f64::midpoint(a.1, b.1) + ny * bend * 2.0,
    );
    let (start, end) = (border(a, control), border(b, control));
    let at = (
        0.25 * start.0 + 0.5 * control.0 + 0.25 * end.0,
        0.25 * start.1 + 0.5 * control.1 + 0.25 * end.1,
    );
    let path = format!(
        "M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}",
        start.0, start.1, control.0, control.1, end.0, end.1
    );
    (path, at)
}

/// Where the way from the middle of a status towards a place leaves the status.
fn border(middle: (f64, f64), towards: (f64, f64)) -> (f64, f64) {
    let (dx, dy) = (towards.0 - middle.0, towards.1 - middle.1);
    let reach = |half: f64, d: f64| {
        if d == 0.0 {
            f64::INFINITY
        } else {
            half / d.abs()
        }
    };
    let part = reach(HALF.0, dx).min(reach(HALF.1, dy)).min(1.0);
    (middle.0 + dx * part, middle.1 + dy * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_its_place_and_every_way_ends_at_the_borders() {
        for from in Status::ALL {
            for to in Status::ALL {
                let (a, b) = (middle(from), middle(to));
                let apart = (a.0 - b.0).abs() > 2.0 * HALF.0 || (a.1 - b.1).abs() > 2.0 * HALF.1;
                assert!(apart || from == to, "{from} {to}");
                let (path, (x, y)) = route(from, to);
                assert!(path.starts_with('M'), "{path}");
                assert!(x.is_finite() && y.is_finite(), "{from} {to}");
            }
        }
        assert_eq!(border((0.0, 0.0), (100.0, 0.0)), (HALF.0, 0.0));
        assert_eq!(border((0.0, 0.0), (0.0, -100.0)), (0.0, -HALF.1));
    }

    #[test]
    fn what_must_not_be_is_drawn_though_the_table_does_not_have_it() {
        let mut page = String::new();
        let broke = Some((Status::Aborting, Status::Pending));
        write(&mut page, 0, &BTreeMap::new(), broke);
        assert_eq!(page.matches("class=\"broke\" d=").count(), 1);
        assert!(page.contains("aborting to pending, which must not be"));
        assert!(!page.contains("class=\"taken\" d="));
    }
}
