//! Puts every mutant of a file behind a switch of its own, so that one build has them all.
//!
//! [`sites`] says which pieces of the source are to become what; here the text is made of it. An
//! operator's operands are written once, however many mutants it has and however deep they nest: they
//! are bound first, and what is done with them is chosen afterwards.

use std::collections::BTreeSet;
use std::ops::Range;

use super::list::Mutant;
use super::sites::{self, Form, Site, Sites};

/// A file with its mutants behind switches.
#[derive(Debug)]
pub struct Rewritten {
    pub text: String,
    /// Where which mutants stand in `text`; later ones are inside earlier ones or behind them.
    pub regions: Vec<Region>,
    /// Mutants without a place in it.
    pub apart: Vec<usize>,
}

/// A piece of what was written.
#[derive(Debug)]
pub struct Region {
    pub range: Range<usize>,
    /// The mutants that are to blame if it does not compile.
    pub mutants: Vec<usize>,
    /// It is what one of them puts there, and not a switch.
    pub branch: bool,
}

/// How to write a mutant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Only the switches: whatever is chosen, what stands there is done.
    Switches,
    /// As it is.
    Mutants,
}

/// `mutants` are those of this file, with their numbers; `constant` has the names of the functions that
/// stay `const`.
pub fn rewrite(
    source: &str,
    mutants: &[(usize, &Mutant)],
    constant: &BTreeSet<String>,
    style: Style,
) -> Result<Rewritten, String> {
    let Sites { sites, apart } = sites::find(source, mutants, constant)?;
    let mut writer = Writer {
        source,
        sites: &sites,
        style,
        text: String::with_capacity(source.len() * 2),
        regions: Vec::new(),
    };
    writer.copy(0..source.len(), 0);
    Ok(Rewritten {
        text: writer.text,
        regions: writer.regions,
        apart,
    })
}

struct Writer<'a> {
    source: &'a str,
    /// By their beginning; those around others before them.
    sites: &'a [Site],
    style: Style,
    text: String,
    regions: Vec<Region>,
}

impl Writer<'_> {
    /// Writes a piece of the source, with the sites in it from the `first` on.
    fn copy(&mut self, range: Range<usize>, first: usize) {
        let mut at = range.start;
        let skipped = self.sites[first..].partition_point(|site| site.range.start < range.start);
        for index in first + skipped..self.sites.len() {
            let site = &self.sites[index];
            if site.range.start >= range.end {
                break;
            }
            // What is around the range has this piece as its own; what is inside a site is written by it.
            if site.range.end > range.end || site.range.start < at {
                continue;
            }
            self.text.push_str(&self.source[at..site.range.start]);
            at = site.range.end;
            self.site(index);
        }
        self.text.push_str(&self.source[at..range.end]);
    }

    fn site(&mut self, index: usize) {
        let site = &self.sites[index];
        let begun = self.text.len();
        let place = self.regions.len();
        self.regions.push(Region {
            range: begun..begun,
            mutants: site.mutants.iter().map(|(number, _)| *number).collect(),
            branch: false,
        });
        self.form(index);
        self.regions[place].range.end = self.text.len();
    }

    fn form(&mut self, index: usize) {
        let site = &self.sites[index];
        let inner = index + 1;
        match &site.form {
            Form::Removed => {}
            Form::Body => {
                for (number, replacement) in &site.mutants {
                    self.push(&format!("if {} {{ return ", on(*number)));
                    match self.style {
                        Style::Switches => self.push("loop {}"),
                        Style::Mutants => {
                            self.branch(*number, |writer| writer.push(replacement));
                        }
                    }
                    self.push("; } ");
                }
            }
            Form::Lazy { left, right, and } => {
                let number = site.mutants[0].0;
                // The right side counts if the left one is true (`&&`) or false (`||`), and the other
                // way round in the mutant; the value of what is cut short is the left one's.
                let (equal, short) = if *and { ("!=", "m__") } else { ("==", "!m__") };
                self.push(&format!("(match ({}, ", on(number)));
                self.copy(left.clone(), inner);
                self.push(&format!(") {{ (m__, l__) => if l__ {equal} m__ {{ "));
                self.copy(right.clone(), inner);
                self.push(&format!(" }} else {{ {short} }} }})"));
            }
            Form::Compared {
                left,
                right,
                operator,
            } => {
                self.push("(match (&(");
                self.copy(left.clone(), inner);
                self.push("), &(");
                self.copy(right.clone(), inner);
                self.push(")) { (l__, r__) => ");
                self.choose(site, operator, |writer, operator| {
                    writer.push(&format!("*l__ {operator} *r__"));
                });
                self.push(" })");
            }
            Form::Computed {
                left,
                right,
                operator,
            } => {
                self.push("(match (");
                self.copy(left.clone(), inner);
                self.push(", ");
                self.copy(right.clone(), inner);
                self.push(") { (l__, r__) => ");
                self.choose(site, operator, |writer, operator| {
                    writer.push(&format!("l__ {operator} r__"));
                });
                self.push(" })");
            }
            Form::Assigned {
                place,
                value,
                operator,
            } => {
                self.push("(match ");
                self.copy(value.clone(), inner);
                self.push(" { r__ => ");
                self.choose(site, operator, |writer, operator| {
                    writer.copy(place.clone(), inner);
                    writer.push(&format!(" {operator} r__"));
                });
                self.push(" })");
            }
            Form::Unary { operand, operator } => {
                self.push("(match ");
                self.copy(operand.clone(), inner);
                self.push(" { v__ => ");
                self.choose(site, operator, |writer, operator| {
                    writer.push(&format!("{operator}v__"));
                });
                self.push(" })");
            }
            Form::Guard => {
                let number = |word: &str| {
                    let found = site
                        .mutants
                        .iter()
                        .find(|(_, replacement)| replacement == word);
                    found.map_or_else(|| "false".to_owned(), |(number, _)| on(*number))
                };
                self.push(&format!("!{} && ({} || (", number("false"), number("true")));
                self.copy(site.range.clone(), inner);
                self.push("))");
            }
            Form::Arm => {
                self.push(&format!(" if !{}", on(site.mutants[0].0)));
            }
            Form::Field {
                base,
                name,
                shorthand,
            } => {
                if *shorthand {
                    self.push(&format!("{name}: "));
                }
                self.push(&format!("if {} {{ ", on(site.mutants[0].0)));
                match base {
                    Some(base) => self.copy(base.clone(), inner),
                    None => self.push("b__"),
                }
                self.push(&format!(".{name} }} else {{ "));
                self.copy(site.range.clone(), inner);
                self.push(" }");
            }
            Form::Based { base, default } => {
                self.push("(match ");
                match default {
                    Some(text) => self.push(text),
                    None => self.copy(base.clone(), inner),
                }
                self.push(" { b__ => ");
                self.copy(site.range.start..base.start, inner);
                self.push("b__");
                self.copy(base.end..site.range.end, inner);
                self.push(" })");
            }
        }
    }

    /// What is `done` with each of the mutants' operators, and with the one that stands there.
    fn choose(&mut self, site: &Site, operator: &str, done: impl Fn(&mut Self, &str)) {
        for (number, replacement) in &site.mutants {
            self.push(&format!("if {} {{ ", on(*number)));
            let chosen = match self.style {
                Style::Switches => operator,
                Style::Mutants => replacement,
            };
            self.branch(*number, |writer| done(writer, chosen));
            self.push(" } else ");
        }
        self.push("{ ");
        done(self, operator);
        self.push(" }");
    }

    /// What one mutant alone is to blame for.
    fn branch(&mut self, number: usize, write: impl FnOnce(&mut Self)) {
        let place = self.regions.len();
        let begun = self.text.len();
        self.regions.push(Region {
            range: begun..begun,
            mutants: vec![number],
            branch: true,
        });
        write(self);
        self.regions[place].range.end = self.text.len();
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

/// The condition that holds in one mutant.
fn on(number: usize) -> String {
    format!("crate::mutant_switch::on({number})")
}

#[cfg(test)]
mod tests {
    use super::super::list::{Genre, Place, Span};
    use super::*;

    /// A mutant whose place is where `what` stands first.
    fn mutant(source: &str, genre: Genre, what: &str, replacement: &str) -> Mutant {
        let at = source.find(what).expect("it stands there");
        let before = &source[..at];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let place = Place {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        };
        Mutant {
            name: what.to_owned(),
            file: String::new(),
            genre,
            replacement: replacement.to_owned(),
            span: Span {
                start: place,
                // Only the beginning matters here.
                end: place,
            },
        }
    }

    fn rewritten(source: &str, mutants: &[Mutant], constant: &[&str], style: Style) -> Rewritten {
        let numbered: Vec<(usize, &Mutant)> = mutants.iter().enumerate().collect();
        let constant = constant.iter().map(|&name| name.to_owned()).collect();
        let written = rewrite(source, &numbered, &constant, style).expect("it parses");
        syn::parse_file(&written.text).expect("what is written parses");
        written
    }

    /// What is written, with switches for short.
    fn text(source: &str, mutants: &[Mutant]) -> String {
        let written = rewritten(source, mutants, &[], Style::Mutants);
        assert_eq!(written.apart, [0; 0]);
        written.text.replace("crate::mutant_switch::on", "on")
    }

    #[test]
    fn a_body_is_left_at_once() {
        let source = "fn f() -> u8 { g() }";
        let mutants = [
            mutant(source, Genre::FnValue, "g()", "0"),
            mutant(source, Genre::FnValue, "g()", "1"),
        ];
        assert_eq!(
            text(source, &mutants),
            "fn f() -> u8 { if on(0) { return 0; } if on(1) { return 1; } g() }"
        );
    }

    #[test]
    fn operands_are_written_once_however_deep_they_nest() {
        let source = "fn f() -> bool { a + b < c && !d }";
        let mutants = [
            mutant(source, Genre::BinaryOperator, "&&", "||"),
            mutant(source, Genre::BinaryOperator, "<", "=="),
            mutant(source, Genre::BinaryOperator, "<", ">"),
            mutant(source, Genre::BinaryOperator, "+", "-"),
            mutant(source, Genre::UnaryOperator, "!", ""),
        ];
        assert_eq!(
            text(source, &mutants),
            "fn f() -> bool { (match (on(0), (match (&((match (a, b) { (l__, r__) => \
             if on(3) { l__ - r__ } else { l__ + r__ } })), &(c)) { (l__, r__) => \
             if on(1) { *l__ == *r__ } else if on(2) { *l__ > *r__ } else { *l__ < *r__ } })) \
             { (m__, l__) => if l__ != m__ { (match d { v__ => if on(4) { v__ } else { !v__ } }) } \
             else { m__ } }) }"
        );
    }

    /// What `Form::Lazy` is made of, for every value of both sides.
    #[test]
    fn a_lazy_operator_and_its_mutant_are_the_two_operators() {
        for (mutant, left, right) in
            (0..8).map(|bits| (bits & 1 != 0, bits & 2 != 0, bits & 4 != 0))
        {
            let and = if left == mutant { mutant } else { right };
            assert_eq!(and, if mutant { left || right } else { left && right });
            let or = if left == mutant { right } else { !mutant };
            assert_eq!(or, if mutant { left && right } else { left || right });
        }
    }

    #[test]
    fn an_assignment_has_its_place_in_each_branch() {
        let source = "fn f() { x[i + 1] += y; }";
        let mutants = [
            mutant(source, Genre::BinaryOperator, "+= ", "-="),
            mutant(source, Genre::BinaryOperator, "+ 1", "*"),
        ];
        let place = "x[(match (i, 1) { (l__, r__) => if on(1) { l__ * r__ } else { l__ + r__ } })]";
        assert_eq!(
            text(source, &mutants),
            format!(
                "fn f() {{ (match y {{ r__ => if on(0) {{ {place} -= r__ }} else {{ {place} += r__ }} }}); }}"
            )
        );
    }

    #[test]
    fn an_arm_is_passed_over_and_a_guard_is_what_it_is_told() {
        let source = "fn f() { match x { A(b) => 1, c if b == c => 2, _ => 3 } }";
        let mutants = [
            mutant(source, Genre::MatchArm, "A(b)", ""),
            mutant(source, Genre::MatchArmGuard, "b ==", "true"),
            mutant(source, Genre::MatchArmGuard, "b ==", "false"),
            mutant(source, Genre::BinaryOperator, "==", "!="),
        ];
        assert_eq!(
            text(source, &mutants),
            "fn f() { match x { A(b) if !on(0) => 1, c if !on(2) && (on(1) || \
             ((match (&(b), &(c)) { (l__, r__) => if on(3) { *l__ != *r__ } else { *l__ == *r__ } }))) \
             => 2, _ => 3 } }"
        );
    }

    #[test]
    fn a_deleted_field_is_the_bases() {
        let source = "fn f() { S { a: 1, b, ..base.of } }";
        let mutants = [
            mutant(source, Genre::StructField, "a:", ""),
            mutant(source, Genre::StructField, "b,", ""),
        ];
        assert_eq!(
            text(source, &mutants),
            "fn f() { S { a: if on(0) { base.of.a } else { 1 }, \
             b: if on(1) { base.of.b } else { b }, ..base.of } }"
        );
        let source = "fn f() { S { a: 1, ..g(h) } }";
        let mutants = [mutant(source, Genre::StructField, "a:", "")];
        assert_eq!(
            text(source, &mutants),
            "fn f() { (match g(h) { b__ => S { a: if on(0) { b__.a } else { 1 }, ..b__ } }) }"
        );
        let source = "fn f() { S { a: 1, ..Default::default() } }";
        let mutants = [mutant(source, Genre::StructField, "a:", "")];
        assert!(text(source, &mutants).starts_with("fn f() { (match S::default() { b__ => S {"));
    }

    #[test]
    fn what_cannot_be_switched_is_left_apart() {
        let source =
            "const A: u8 = 1 + 2; const fn f() -> u8 { 3 - 4 } const fn g() -> bool { 5 < 6 }
                      fn h() -> impl Fn() { i } fn j() { if let k = l && m {} }
                      fn n() { match o { _ if p => {} Q => {} R => {} } }";
        let mutants = [
            mutant(source, Genre::BinaryOperator, "+", "-"),
            mutant(source, Genre::BinaryOperator, "- 4", "+"),
            mutant(source, Genre::BinaryOperator, "<", ">"),
            mutant(source, Genre::FnValue, "i }", "Default::default()"),
            mutant(source, Genre::BinaryOperator, "&&", "||"),
            mutant(source, Genre::MatchArm, "Q", ""),
        ];
        let written = rewritten(source, &mutants, &["f"], Style::Mutants);
        assert_eq!(written.apart, [0, 1, 3, 4, 5]);
        assert!(written.text.contains("const fn f()"));
        assert!(!written.text.contains("const fn g()"));
    }

    #[test]
    fn a_branch_is_told_from_its_switch() {
        let source = "fn f() -> u8 { a + b }";
        let mutants = [mutant(source, Genre::BinaryOperator, "+", "-")];
        let written = rewritten(source, &mutants, &[], Style::Mutants);
        let pieces: Vec<(bool, &str)> = (written.regions.iter())
            .map(|region| (region.branch, &written.text[region.range.clone()]))
            .collect();
        assert!(!pieces[0].0 && pieces[0].1.starts_with("(match (a, b)"));
        assert_eq!(pieces[1], (true, "l__ - r__"));
        let switches = rewritten(source, &mutants, &[], Style::Switches);
        assert!(!switches.text.contains("l__ - r__"));
    }
}
