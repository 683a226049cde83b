//! In which order harnesses begin.

use std::collections::BTreeMap;

use super::Job;

/// The longest first, so that at the end no processor waits for one that began late. How long they are,
/// their pins say well enough; of the parts of one harness each is as long as another.
pub(super) fn longest_first(jobs: &mut [Job], pinned: &BTreeMap<String, u64>) {
    let mut longest: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, &executions) in pinned {
        let (name, parts) = name.split_once(':').unwrap_or((name, "1"));
        let parts = parts.parse().unwrap_or(1).max(1);
        let known = longest.entry(name).or_default();
        *known = (*known).max(executions / parts);
    }
    let length = |job: &Job| longest.get(job.name.as_str()).copied().unwrap_or(u64::MAX);
    jobs.sort_by_key(|job| std::cmp::Reverse(length(job)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn the_longest_begin_first_and_those_that_nobody_knows_before_them() {
        let job = |name: &str, part| Job {
            binary: PathBuf::new(),
            tool: "loom",
            named_tool: "loom".to_owned(),
            name: name.to_owned(),
            case: None,
            part: (part, 9),
        };
        let pinned = [("short", 5), ("long", 700), ("cut:2", 90)];
        let pinned = pinned.map(|(name, executions)| (name.to_owned(), executions));
        let mut jobs = [
            job("short", 1),
            job("cut", 1),
            job("cut", 2),
            job("long", 1),
            job("new", 1),
        ];
        longest_first(&mut jobs, &BTreeMap::from(pinned));
        let names: Vec<_> = jobs.iter().map(|job| (&*job.name, job.part.0)).collect();
        let expected = [
            ("new", 1),
            ("long", 1),
            ("cut", 1),
            ("cut", 2),
            ("short", 1),
        ];
        assert_eq!(names, expected);
    }
}
