//! A story as a table for a terminal, at most [`WIDTH`] columns wide.

use std::fmt::{self, Write as _};

use super::{Inside, Row, Story};

/// The widest line.
pub const WIDTH: usize = 118;

/// More rows than this and the first ones are left to the page.
pub const ROWS_MAX: usize = 120;

/// The number of the entry and what marks the row where the rule broke.
const MARGIN: usize = 7;

/// Between two lanes.
const GAP: usize = 2;

/// No lane is narrower, however many there are.
const LANE_MIN: usize = 8;

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title())?;
        for line in &self.origin.about {
            paragraph(f, "  ", line)?;
        }
        writeln!(f)?;
        self.table(f)?;
        writeln!(f)?;
        paragraph(f, "rule: ", &self.rule())?;
        for line in self.fault.message.lines() {
            paragraph(f, "      ", line)?;
        }
        if let Some(ending) = &self.fault.ending {
            for line in ending.lines() {
                paragraph(f, "ended: ", line)?;
            }
        }
        if !self.fault.allowed.is_empty() {
            writeln!(f, "allowed there:")?;
            for allowed in &self.fault.allowed {
                paragraph(f, "  - ", allowed)?;
            }
        }
        if !self.replay.is_empty() {
            writeln!(f, "to see it again:")?;
            for line in &self.replay {
                // A command is not broken.
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

impl Story {
    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let heads: Vec<Vec<String>> = self
            .lanes
            .iter()
            .zip(&widths)
            .map(|(lane, &width)| wrap(&lane.name(), width))
            .collect();
        lines(f, "", &heads, &widths, |_| "")?;
        let rules: Vec<Vec<String>> = widths
            .iter()
            .map(|&width| vec!["-".repeat(width)])
            .collect();
        lines(f, "-----", &rules, &widths, |_| "")?;
        let left_out = self.rows.len().saturating_sub(ROWS_MAX);
        if left_out > 0 {
            writeln!(
                f,
                "       … {left_out} rows before these: the page has them"
            )?;
        }
        for row in &self.rows[left_out..] {
            Story::row(f, row, &widths)?;
        }
        Ok(())
    }

    fn row(f: &mut fmt::Formatter<'_>, row: &Row, widths: &[usize]) -> fmt::Result {
        let number = row.place.map_or(String::new(), |place| place.to_string());
        let mark = if row.broke { ">>" } else { "  " };
        let cells: Vec<Vec<String>> = row
            .cells
            .iter()
            .zip(widths)
            .map(|(cell, &width)| cell.iter().flat_map(|text| wrap(text, width)).collect())
            .collect();
        lines(
            f,
            &format!("{mark}{number:>3}"),
            &cells,
            widths,
            |lane| match row.inside[lane] {
                Inside::Nothing => "",
                Inside::Call => "|",
                Inside::Point => ":",
            },
        )
    }

    /// What each lane needs, cut down where all of them together need too much: the widest first.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .lanes
            .iter()
            .enumerate()
            .map(|(lane, who)| {
                let cells = self.rows.iter().flat_map(|row| &row.cells[lane]);
                let widest = cells.map(|text| text.chars().count()).max();
                widest.unwrap_or_default().max(who.name().chars().count())
            })
            .collect();
        let room = WIDTH - MARGIN;
        loop {
            let total: usize = widths.iter().map(|width| width + GAP).sum::<usize>() - GAP;
            let widest = widths.iter().copied().max().unwrap_or_default();
            if total <= room || widest <= LANE_MIN {
                return widths;
            }
            for width in &mut widths {
                if *width == widest {
                    *width -= 1;
                    break;
                }
            }
        }
    }
}

/// One row of a table, on as many lines as its highest cell; `idle` is what a lane without text
/// shows.
fn lines<'a>(
    f: &mut fmt::Formatter<'_>,
    margin: &str,
    cells: &[Vec<String>],
    widths: &[usize],
    idle: impl Fn(usize) -> &'a str,
) -> fmt::Result {
    let height = cells.iter().map(Vec::len).max().unwrap_or_default().max(1);
    for at in 0..height {
        let mut line = format!("{:<MARGIN$}", if at == 0 { margin } else { "" });
        for (lane, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let text = match cell.get(at) {
                Some(text) => text,
                None if cell.is_empty() => idle(lane),
                None => "",
            };
            let _ = write!(line, "{text:<width$}{:GAP$}", "");
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A text under a head, broken at the width of the table.
fn paragraph(f: &mut fmt::Formatter<'_>, head: &str, text: &str) -> fmt::Result {
    let indent = head.chars().count();
    for (at, line) in wrap(text, WIDTH - indent).iter().enumerate() {
        let head = if at == 0 { head } else { "" };
        writeln!(f, "{}", format!("{head:indent$}{line}").trim_end())?;
    }
    Ok(())
}

/// A text in lines of at most `width`: broken at spaces, else where words have joints, else
/// anywhere.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let mut word = word;
        loop {
            let taken = line.chars().count();
            let space = usize::from(taken > 0);
            let length = word.chars().count();
            if taken + space + length <= width {
                if taken > 0 {
                    line.push(' ');
                }
                line += word;
                break;
            }
            if taken > 0 && (length <= width || taken > 2) {
                lines.push(std::mem::take(&mut line));
                continue;
            }
            let (head, tail) = word.split_at(cut(word, width - taken - space));
            if taken > 0 {
                line.push(' ');
            }
            line += head;
            lines.push(std::mem::take(&mut line));
            word = tail;
        }
    }
    lines.push(line);
    lines
}

/// Where to cut a word of more than `room` characters: after its last joint, or in its middle.
fn cut(word: &str, room: usize) -> usize {
    let room = room.max(1);
    let end = word
        .char_indices()
        .nth(room)
        .map_or(word.len(), |(at, _)| at);
    word[..end].rfind(['_', '-', '/']).map_or(end, |at| at + 1)
}
