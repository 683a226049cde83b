//! Goal: the engine, driven one operation at a time, does what the specification says.
//!
//! Method: random programs of up to 200 operations over up to six jobs, alone or in up to three
//! transactions (proptest-state-machine, which shrinks them). The reference is the step relation itself,
//! run to rest after every operation. Drivers take their steps from a channel and stop at gates, so
//! that the engine comes to rest too, and time is virtual. Callbacks call back into the engine. After
//! every operation the answers, the order of callbacks, statuses, events, and what queries show
//! must be the same on both sides; after every program the oracle judges the recorded trace. Interleavings
//! are the business of `proofs/`.
//!
//! | file | what |
//! |---|---|
//! | `program.rs` | what is random: jobs and operations |
//! | `generate.rs` | how random |
//! | `specification.rs` | the reference: the step relation, walked in the engine's documented order |
//! | `driver.rs` | the driver, and the gates that keep its body in that order |
//! | `engine.rs` | the system under test |
//! | `happening.rs` | what both sides write down |

#![allow(clippy::unwrap_used)]

mod driver;
mod engine;
mod generate;
mod happening;
mod program;
mod specification;

use blockjob::oracle::{self, Options, Outcome};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use proptest_state_machine::{StateMachineTest, prop_state_machine};

use engine::Engine;
use generate::Programs;
use program::Operation;
use specification::Specification;

impl StateMachineTest for Programs {
    type SystemUnderTest = Engine;
    type Reference = Programs;

    fn init_test(specification: &Specification) -> Engine {
        Engine::new(&specification.plan)
    }

    fn apply(mut engine: Engine, specification: &Specification, operation: Operation) -> Engine {
        engine.apply(&operation, specification);
        engine
    }

    fn check_invariants(engine: &Engine, specification: &Specification) {
        engine.compare(specification);
    }

    fn teardown(engine: Engine, _: Specification) {
        let trace = engine.finish();
        if trace.lines().count() == 1 {
            // Nobody came into being.
            return;
        }
        let verdict = oracle::check_reader("trace", trace.as_bytes(), &Options::default());
        assert!(
            matches!(verdict.outcome, Outcome::Accept),
            "{verdict}\n{trace}"
        );
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        // Where something does not come at all, each try takes its time.
        max_shrink_time: 60_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/engine_model/regressions.txt",
        ))),
        ..ProptestConfig::default()
    })]
    #[test]
    fn the_engine_does_what_the_specification_says(sequential 1..=200 => Programs);
}
