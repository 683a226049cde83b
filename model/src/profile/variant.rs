//! A profile with one switch turned as another has it: an implementation that differs in this alone.

use super::{Aspect, Profile};

/// Copies the field that is called as the switch `name`, `-` for `_`; `false`: there is none.
macro_rules! copy_field {
    ($name:expr, $from:expr => $into:expr; $($field:ident)*) => {
        match $name.replace('-', "_").as_str() {
            $(stringify!($field) => {
                $into.$field = $from.$field;
                true
            })*
            _ => false,
        }
    };
}

impl Profile {
    /// This profile, but in `aspect` as `other` is. `None`: the aspect is one that no switch stands for
    /// ([`Told::Words`](super::Told::Words)), or both are alike in it.
    pub fn varied(&self, aspect: &Aspect, other: &Profile) -> Option<Profile> {
        let mut varied = *self;
        let copied = copy_field!(aspect.name, other => varied;
            status_events verb_table manual_stages change_verb standby_complete pause_is_idempotent
            cancel_is_revocable force_abandons peers_forced cancel_folds waiting_cancel_aborts
            cancelled_before_run_is_skipped internal_pauses pause_point_loops stop_takes_one_slot
            stop_during_resume_wins pause_kicks resume_cuts_sleep speed_wakes wakes_are_sticky
            ended_is_waiting end_clears_pauses complete_is_latched finalize_reports_prepare
            prepare_failure_takes_all unstarted_peers_end abort_newest_first start_order
            queries_on_main_loop cancel_callback set_speed_callback prepare_callback
            user_resume_callback drain_callback drained_poll_callback attached_context_callback
            free_callback speed_text speed_may_be_unsupported transaction_text creation_texts
            ready_may_lapse id_is_free_at_null);
        (copied && varied != *self).then_some(varied)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ASPECTS, QEMU_2_11, REFERENCE, Told};
    use super::*;

    #[test]
    fn every_switch_can_be_turned_and_no_other_turns_with_it() {
        for aspect in ASPECTS {
            for one in Profile::ALL {
                for other in Profile::ALL {
                    let differ =
                        aspect.told != Told::Words && (aspect.value)(one) != (aspect.value)(other);
                    let varied = one.varied(aspect, other);
                    assert_eq!(varied.is_some(), differ, "{}", aspect.name);
                    let Some(varied) = varied else { continue };
                    for told in ASPECTS.iter().filter(|told| told.told != Told::Words) {
                        let from = if told.name == aspect.name { other } else { one };
                        assert_eq!((told.value)(&varied), (told.value)(from), "{}", told.name);
                    }
                }
            }
        }
    }

    #[test]
    fn what_stands_in_words_has_no_switch() {
        let words = Aspect::by_name("locking").unwrap();
        assert!(REFERENCE.varied(words, &QEMU_2_11).is_none());
    }
}
