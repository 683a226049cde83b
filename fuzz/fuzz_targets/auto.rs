//! Any bytes, of whatever format they look like, packed or not; and fed in two pieces, which must change nothing.
#![no_main]

use blockjob::oracle::feed::Feed;
use blockjob::oracle::{Options, check_reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let options = Options::default();
    let whole = check_reader("fuzz", bytes, &options).to_json();
    let mut feed = Feed::new("fuzz", &options).expect("a thread");
    let (first, second) = bytes.split_at(bytes.len() / 2);
    feed.feed(first);
    feed.feed(second);
    let fed = feed.finish().expect("a verdict").to_json();
    assert_eq!(whole, fed);
});
