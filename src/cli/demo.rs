//! `blockjob demo`: everything once, on scratch files, with real numbers.
//!
//! One group is copied and paused on the way, one is cancelled, one fails and is rolled back; the
//! trace of all that is judged, and the specification it is judged by is searched.

mod scratch;
mod story;

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use blockjob::model::explore::Options;
use blockjob::model::profile::REFERENCE;
use blockjob::oracle::story::Story;
use blockjob::oracle::{self, Watch};
use blockjob::report::story::Page;
use blockjob::trace::{TraceSink, TraceWriter};

use super::controls::Controls;
use super::explore;
use super::output::{Answer, Failure, Output, Verdict, sentence};
use super::session::Session;
use scratch::Scratch;
use story::{Stage, Told};

/// Runs the demonstration.
pub fn run(output: &mut Output) -> Answer {
    let begun = Instant::now();
    let scratch = Scratch::new().map_err(|error| unusable(&error))?;
    output.line(format!("scratch files in {}", scratch.folder().display()));
    output.flush();

    let path = scratch.folder().join("trace.jsonl");
    let file = File::create(&path).map_err(|error| unusable(&error))?;
    let writer = Arc::new(TraceWriter::new(file));
    let mut good = true;
    for (title, told) in tell(&scratch, &writer)? {
        good &= say(title, told, output);
    }
    let entries = writer.finish().map_err(|error| unusable(&error))?;

    let judging = Instant::now();
    let verdict = oracle::check(&path, &oracle::Options::default());
    let seconds = judging.elapsed().as_secs_f64();
    let told = match verdict.exit_code() {
        0 => Ok(vec![format!(
            "the oracle accepts {} records of {} jobs, profile {}, in {seconds:.3} s ({:.0} a second)",
            verdict.events,
            verdict.jobs,
            verdict.profile.unwrap_or("none"),
            entries as f64 / seconds
        )]),
        _ => Err(verdict.to_string()),
    };
    good &= say("judged", told, output);

    let options = Options::new(&REFERENCE, 2).map_err(|error| Failure::new(error.to_string()))?;
    let report = explore::search_first(&options);
    let told = if report.held() {
        let mut lines = vec![format!(
            "{} properties hold in all {} states and {} transitions of two jobs, within these bounds, {:.1} s",
            report.properties.len(),
            report.states,
            report.transitions,
            report.seconds
        )];
        lines.extend(
            report.scenarios.iter().map(|scenario| {
                format!("{}: {}", scenario.scenario.name, scenario.scenario.bounds)
            }),
        );
        lines.push("`blockjob explore --jobs 2` searches the other scenarios too".to_owned());
        Ok(lines)
    } else {
        Err("a property does not hold; `blockjob explore` shows the way".to_owned())
    };
    good &= say("explored", told, output);

    let report = scratch.folder().join("report.html");
    draw(&path, &report).map_err(|error| unusable(&error))?;
    scratch.clear().map_err(|error| unusable(&error))?;
    output.line(format!("trace     {}", path.display()));
    output.line(format!("report    {}", report.display()));
    let end = if good { "done" } else { "FAILED" };
    output.line(format!("{end} in {:.1} s", begun.elapsed().as_secs_f64()));
    Ok(Verdict::good_if(good))
}

/// Lets the three stories happen, one after the other, and says what became of each.
fn tell(
    scratch: &Scratch,
    writer: &Arc<TraceWriter<File>>,
) -> Result<Vec<(&'static str, Told)>, Failure> {
    let sink = Arc::clone(writer) as Arc<dyn TraceSink>;
    let Session {
        manager,
        mut main_loop,
        ..
    } = Session::new(Some(Arc::clone(&sink)), None);
    let controls = Controls::listen(manager.clone()).map_err(|error| unusable(&error))?;
    let stage = Stage {
        scratch,
        manager: &manager,
        trace: &sink,
        controls: &controls,
    };
    let told = thread::scope(|scope| {
        let user = scope.spawn(|| {
            let told = vec![
                ("copied", stage.copied()),
                ("cancelled", stage.cancelled()),
                ("failed", stage.failed()),
            ];
            manager.manager().shutdown();
            told
        });
        main_loop.run();
        user.join()
    });
    // First the loop: a signal that is being answered would wait for it.
    drop(main_loop);
    told.map_err(|_| Failure::new("the demonstration panicked; see above"))
}

/// Draws the trace as `check --html` does. Not while its speed is measured.
fn draw(trace: &Path, report: &Path) -> io::Result<()> {
    let mut story = Story::default();
    let watch = Watch::new(vec![&mut story]);
    let verdict = oracle::check_watched(trace, &oracle::Options::default(), watch);
    let mut page = Page::default();
    page.add(&verdict, story.told());
    fs::write(report, page.finish())
}

/// Prints a story; whether it went as it should.
fn say(title: &str, told: Told, output: &mut Output) -> bool {
    let good = told.is_ok();
    let (mark, lines) = match told {
        Ok(lines) => (output.good(&format!("{title:<9}")), lines),
        Err(reason) => (
            output.bad(&format!("{title:<9}")),
            vec![format!("NOT AS IT SHOULD BE: {reason}")],
        ),
    };
    for (number, line) in lines.iter().enumerate() {
        if number == 0 {
            output.line(format!("{mark} {line}"));
        } else {
            output.line(format!("          {line}"));
        }
    }
    output.flush();
    good
}

fn unusable(error: &std::io::Error) -> Failure {
    Failure::new(format!("the demonstration cannot run: {}", sentence(error)))
        .tip("it needs 300 MB in the folder for temporary files; TMPDIR names another one")
}
