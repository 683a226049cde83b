//! Goal: what is spelled is spelled as QMP, native traces and people have it.
//!
//! Method: every name is read back; the rest is written down.

use blockjob_model::{Callback, ErrorAction, Event, Refusal, Request};

#[test]
fn callbacks_and_actions_are_read_back_by_their_names() {
    for callback in Callback::ALL {
        assert_eq!(Callback::from_name(callback.name()), Some(callback));
    }
    assert_eq!(Callback::from_name("runs"), None);
    for action in [ErrorAction::Report, ErrorAction::Ignore, ErrorAction::Stop] {
        assert_eq!(ErrorAction::from_name(action.name()), Some(action));
    }
    assert_eq!(ErrorAction::from_name("auto"), None);
}

#[test]
fn an_event_reads_with_what_it_carries() {
    for (event, words) in [
        (Event::Ready, "BLOCK_JOB_READY"),
        (
            Event::Completed { error: true },
            "BLOCK_JOB_COMPLETED with an error",
        ),
        (
            Event::Completed { error: false },
            "BLOCK_JOB_COMPLETED without an error",
        ),
        (
            Event::Error {
                action: ErrorAction::Ignore,
            },
            "BLOCK_JOB_ERROR with action ignore",
        ),
    ] {
        assert_eq!(event.to_string(), words);
    }
}

#[test]
fn a_request_reads_with_how_it_is_asked() {
    for (request, words) in [
        (Request::Pause, "pause"),
        (Request::Cancel { force: true }, "cancel by force"),
        (Request::Cancel { force: false }, "cancel softly"),
        (Request::SET_SPEED, "set-speed"),
        (Request::SET_SPEED_UP, "set-speed"),
        (Request::SET_SPEED_NEGATIVE, "set-speed to a negative value"),
    ] {
        assert_eq!(request.to_string(), words);
    }
}

#[test]
fn who_is_not_found_is_refused_in_the_words_of_the_command() {
    let text = |block_job| Refusal::NotFound.text("j", block_job);
    assert_eq!(text(false), "Job not found");
    assert_eq!(text(true), "Block job 'j' not found");
    assert_eq!(Refusal::NotFound.class(false), "GenericError");
    assert_eq!(Refusal::NotFound.class(true), "DeviceNotActive");
    assert_eq!(Refusal::NotPaused.class(true), "GenericError");
}
