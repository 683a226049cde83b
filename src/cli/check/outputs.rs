//! The files that `check` writes beside its verdicts.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use blockjob::oracle::coverage::report::Report;
use blockjob::oracle::coverage::{Coverage, Shown};
use blockjob::oracle::story::Story;
use blockjob::oracle::watch::Watcher;
use blockjob::oracle::{self, Options};
use blockjob::report::{coverage, junit, sarif, story};
use clap::Args;

use super::super::output::{Failure, complain, sentence};

/// Which files.
#[derive(Args)]
pub struct Files {
    /// Write which verbs by status, changes, events, error texts and differences the traces show; as text, JSON or a
    /// page, by the name: *.txt, *.json, *.html
    #[arg(long, value_name = "FILE", value_parser = coverage_file)]
    coverage: Option<CoverageFile>,
    /// Say in it what is shown now and was not then, and the other way round; FILE is an earlier --coverage *.json
    #[arg(long, value_name = "FILE", requires = "coverage")]
    coverage_against: Option<PathBuf>,
    /// Write a page that draws the traces: lanes of jobs and transactions, where it broke, the way through the statuses
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the verdicts as JUnit XML, a test case a trace
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write what was rejected as SARIF 2.1.0
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
}

#[derive(Clone)]
struct CoverageFile {
    path: PathBuf,
    form: Form,
}

#[derive(Clone, Copy)]
enum Form {
    Text,
    Json,
    Html,
}

fn coverage_file(name: &str) -> Result<CoverageFile, String> {
    let path = PathBuf::from(name);
    let extension = path.extension().and_then(|extension| extension.to_str());
    let form = match extension {
        Some("txt") => Form::Text,
        Some("json") => Form::Json,
        Some("html") => Form::Html,
        _ => {
            return Err(
                "its name says the form: *.txt for text, *.json for JSON, *.html for a page"
                    .to_owned(),
            );
        }
    };
    Ok(CoverageFile { path, form })
}

/// What is collected for them.
#[derive(Default)]
pub struct Outputs {
    coverage: Option<(CoverageFile, Coverage)>,
    against: Option<(PathBuf, Report)>,
    html: Option<(PathBuf, story::Page)>,
    junit: Option<(PathBuf, junit::Suite)>,
    sarif: Option<(PathBuf, sarif::Run)>,
}

/// What is collected of one trace.
pub struct Watching {
    shown: Option<Shown>,
    story: Option<Story>,
}

impl Watching {
    /// The same for another trace.
    pub fn another(&self, options: &Options) -> Watching {
        Watching {
            shown: self.shown.as_ref().map(|_| Shown::new(options.observer)),
            story: self.story.as_ref().map(|_| Story::default()),
        }
    }

    /// Whoever is to be told of its steps.
    pub fn watchers(&mut self) -> Vec<&mut dyn Watcher> {
        let shown = self.shown.iter_mut();
        let story = self.story.iter_mut();
        shown
            .map(|shown| shown as &mut dyn Watcher)
            .chain(story.map(|story| story as &mut dyn Watcher))
            .collect()
    }
}

impl Outputs {
    /// Reads what is read beforehand.
    pub fn prepare(files: &Files) -> Result<Outputs, Failure> {
        let against = match &files.coverage_against {
            Some(path) => Some((path.clone(), earlier(path)?)),
            None => None,
        };
        Ok(Outputs {
            coverage: files
                .coverage
                .clone()
                .map(|file| (file, Coverage::default())),
            against,
            html: files
                .html
                .clone()
                .map(|path| (path, story::Page::default())),
            junit: files
                .junit
                .clone()
                .map(|path| (path, junit::Suite::begin())),
            sarif: files
                .sarif
                .clone()
                .map(|path| (path, sarif::Run::default())),
        })
    }

    /// A trace is about to be judged.
    pub fn watch(&self, options: &Options) -> Watching {
        Watching {
            shown: self.coverage.as_ref().map(|_| Shown::new(options.observer)),
            story: self.html.as_ref().map(|_| Story::default()),
        }
    }

    /// It was judged.
    pub fn add(&mut self, watching: Watching, verdict: &oracle::Verdict, took: Duration) {
        self.show(watching, verdict);
        if let Some((_, suite)) = &mut self.junit {
            suite.add(verdict, took);
        }
        if let Some((_, run)) = &mut self.sarif {
            run.add(verdict);
        }
    }

    /// Whether anything is collected of what a trace shows.
    pub const fn watches(&self) -> bool {
        self.coverage.is_some() || self.html.is_some()
    }

    /// What a recording shows.
    pub fn show(&mut self, watching: Watching, verdict: &oracle::Verdict) {
        if let (Some((_, coverage)), Some(shown)) = (&mut self.coverage, watching.shown) {
            coverage.add(shown, verdict);
        }
        if let (Some((_, page)), Some(story)) = (&mut self.html, watching.story) {
            page.add(verdict, story.told());
        }
    }

    /// Writes every file.
    pub fn write(self) -> Result<(), Failure> {
        if let Some((file, coverage)) = &self.coverage {
            let mut report = coverage.report();
            if let Some((path, old)) = &self.against {
                report.compare(path.display().to_string(), old);
            }
            complain(&format!("coverage: {}", report.summary()));
            let text = match file.form {
                Form::Text => report.to_string(),
                Form::Json => report.to_json(),
                Form::Html => coverage::html(&report),
            };
            write(&file.path, &text)?;
        }
        if let Some((path, page)) = &self.html {
            write(path, &page.finish())?;
        }
        if let Some((path, suite)) = &self.junit {
            write(path, &suite.finish())?;
        }
        if let Some((path, run)) = &self.sarif {
            write(path, &run.finish())?;
        }
        Ok(())
    }
}

fn earlier(path: &Path) -> Result<Report, Failure> {
    let text = fs::read_to_string(path).map_err(|error| {
        Failure::new(format!(
            "cannot read the earlier coverage {}: {}",
            path.display(),
            sentence(&error)
        ))
        .tip("name a file that an earlier run wrote with --coverage FILE.json")
    })?;
    Report::from_json(&text).map_err(|reason| {
        Failure::new(format!(
            "{} is no coverage of an earlier run: {reason}",
            path.display()
        ))
        .tip("name a file that an earlier run wrote with --coverage FILE.json")
    })
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| {
        Failure::new(format!(
            "cannot write {}: {}",
            path.display(),
            sentence(&error)
        ))
        .tip("the verdicts stand above; name a file in a folder that exists and may be written to")
    })
}
