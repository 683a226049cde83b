//! Goal: the page of the profiles and the code say the same.
//!
//! Method: everything below the mark in `docs/profiles.md` is drawn from the tables; the test
//! compares. Write it anew with
//! `BLOCKJOB_WRITE_DOCS=1 cargo test -p blockjob-model --test profiles_page`, and read the change.

use std::fs;
use std::path::Path;

use blockjob_model::profile::{DIFFERENCES, Difference, Profile};
use blockjob_model::render::profiles::page;

const MARK: &str = "<!-- Drawn from model/src/profile; tests/profiles_page.rs compares. -->\n";

fn docs(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(name)
}

#[test]
fn the_page_is_what_the_tables_draw() {
    let path = docs("profiles.md");
    let text = fs::read_to_string(&path).expect("docs/profiles.md can be read");
    let (head, tables) = text
        .split_once(MARK)
        .expect("docs/profiles.md has the mark under which the tables stand");
    let drawn = format!("\n{}", page());
    if std::env::var_os("BLOCKJOB_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{head}{MARK}{drawn}")).expect("docs/profiles.md can be written");
        return;
    }
    assert!(
        tables == drawn,
        "docs/profiles.md is not what the tables draw; see the head of this test"
    );
}

#[test]
fn every_profile_and_every_number_has_its_place_on_the_page() {
    let page = page();
    for profile in Profile::ALL {
        assert!(page.contains(&format!("| `{}` |", profile.name)));
    }
    for difference in DIFFERENCES {
        let anchor = format!("<a id=\"d{}\"></a>", difference.number);
        assert_eq!(page.matches(&anchor).count(), 1, "{anchor}");
    }
}

#[test]
fn a_difference_is_found_by_its_number() {
    for difference in DIFFERENCES {
        let found = Difference::by_number(difference.number);
        assert_eq!(found.map(|found| found.number), Some(difference.number));
    }
    assert!(Difference::by_number(0).is_none());
}

#[test]
fn the_decisions_link_to_each_number() {
    let decisions = fs::read_to_string(docs("DECISIONS.md")).expect("docs/DECISIONS.md is there");
    for difference in DIFFERENCES {
        let link = format!("[{0}](profiles.md#d{0})", difference.number);
        assert!(decisions.contains(&link), "{link}");
    }
}
