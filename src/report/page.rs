//! What every page shares: one file that fetches nothing and runs nothing, light or dark as the reader has it,
//! and fit for a narrow screen.

use std::fmt::Write as _;

use blockjob_model::Status;

/// A page allows itself its own style, and nothing else: no script, no picture, no address.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Colours and text. What is wider than the screen scrolls in a box of its own.
const STYLE: &str = "\
:root { color-scheme: light dark; --back: #fff; --raised: #f5f6f8; --text: #1c1e21; --faint: #5c6370;
  --line: #d7dae0; --good: #1a7f37; --good-back: #dafbe1; --bad: #b42318; --bad-back: #fdecea;
  --link: #2f6fb0; --focus: #1f6feb; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181c; --raised: #1f2228; --text: #e6e8eb; --faint: #a0a7b4; --line: #363b44;
    --good: #56d364; --good-back: #12301b; --bad: #ff8a7a; --bad-back: #3a1d1b; --link: #6cb0f5;
    --focus: #79c0ff; } }
* { box-sizing: border-box; }
html { overflow-wrap: anywhere; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
main { max-width: 90rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .35rem; }
p, ul { margin: .35rem 0; }
a { color: var(--link); }
:focus-visible { outline: 2px solid var(--focus); outline-offset: 1px; }
.faint { color: var(--faint); }
.good { color: var(--good); }
.bad { color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: .2rem .55rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  overflow-wrap: normal; }
th { font-weight: 600; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font-family: ui-monospace, monospace; font-size: .92em; }
";

/// The beginning of a page with this title and more style.
pub fn begin(title: &str, style: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>\n{STYLE}{style}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n"
    )
}

/// The end of a page.
pub fn end(page: &mut String) {
    page.push_str("</main>\n</body>\n</html>\n");
}

/// The beginning of a box that scrolls by itself, and can be reached by the keyboard to do so.
pub fn begin_scroll(page: &mut String, label: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(
        page,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">",
        escape(label)
    );
}

/// The beginning of a table in such a box, with a column for each status; a row begins with its name.
pub fn begin_grid(page: &mut String, label: &str, caption: &str) {
    begin_scroll(page, label);
    let _ = write!(
        page,
        "<table class=\"grid\"><caption class=\"faint\">{}</caption>\n<thead><tr><td></td>",
        escape(caption)
    );
    for status in Status::ALL {
        let _ = write!(page, "<th scope=\"col\">{status}</th>");
    }
    page.push_str("</tr></thead>\n<tbody>\n");
}

/// Text as HTML shows it, in an element or in an attribute. What commands a terminal, or turns the direction of
/// writing around, is shown by its number.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(character),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                escaped.extend(character.escape_unicode());
            }
            character if character.is_control() => escaped.extend(character.escape_default()),
            character => escaped.push(character),
        }
    }
    escaped
}

/// At most so many characters of a text, with a mark where it was cut.
pub fn cut(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_taken_for_markup() {
        assert_eq!(
            escape("<script>alert('\"&')</script>\x1b\u{202e}\n"),
            "&lt;script&gt;alert(&#39;&quot;&amp;&#39;)&lt;/script&gt;\\u{1b}\\u{202e}\n"
        );
    }

    #[test]
    fn cuts_are_between_characters() {
        assert_eq!(cut("äöü", 2), "äö…");
        assert_eq!(cut("äöü", 3), "äöü");
    }
}
