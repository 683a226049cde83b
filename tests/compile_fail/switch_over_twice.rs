//! A mirror switches over once.
use blockjob::mirror::Quiet;

fn end(quiet: Quiet) {
    let once = quiet.switch(|| Ok::<(), std::io::Error>(()));
    let twice = quiet.switch(|| Ok::<(), std::io::Error>(()));
    drop((once, twice));
}

fn main() {}
