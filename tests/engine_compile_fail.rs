//! What the types forbid.
//!
//! Goal: each misuse that the engine rules out by type does not compile, and the compiler says
//! something a reader can act on. Method: trybuild; the expected messages are files beside the
//! programs, regenerated with `TRYBUILD=overwrite`.

#[test]
fn misuse_does_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
}
