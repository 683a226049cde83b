//! Goal: a change of a table is a visible change in review.
//!
//! Method: the whole matrices and diagrams as snapshots, refused cells included. Accept a changed
//! one with `INSTA_UPDATE=always cargo test -p blockjob-model --test pictures` after reading it.

use blockjob_model::profile::{QEMU_10_0, REFERENCE};
use blockjob_model::render;

#[test]
fn tables_of_the_reference() {
    insta::assert_snapshot!("tables_reference", render::text(&REFERENCE));
}

#[test]
fn tables_of_qemu() {
    insta::assert_snapshot!("tables_qemu_10_0", render::text(&QEMU_10_0));
}

#[test]
fn mermaid_of_the_reference() {
    insta::assert_snapshot!("mermaid_reference", render::mermaid(&REFERENCE));
}

#[test]
fn dot_of_the_reference() {
    insta::assert_snapshot!("dot_reference", render::dot(&REFERENCE));
}

#[test]
fn json_of_the_reference() {
    insta::assert_snapshot!("json_reference", render::json(&REFERENCE));
}
