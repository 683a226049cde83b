//! JSON, and what is none.

use super::both::Both;

#[test]
fn json_and_what_is_none_is_answered_alike() {
    let Some(mut both) = Both::new(4 << 20) else {
        return;
    };
    for text in [
        &b"{}"[..], b"[]", b"5", b"\"abc\"", b"null", b"{'execute':'query-jobs'}", b"{\"execute\":5}",
        b"{\"execut\":\"x\"}", b"{\"execute\":\"query-jobs\",\"foo\":1,\"id\":7}", b"{\"id\":{\"a\":[1,2.50,1e3,null]}}",
        b"{\"execute\":\"query-jobs\",\"arguments\":[]}", b"{\"execute\":\"query-jobs\",\"id\":1,\"id\":2}",
        b"{\"exec-oob\":\"query-jobs\"}", b"x", b"{x}", b"{\"execute\":\"query-jobs\",}", b"{\"a\" 1}", b"{\"a\":}",
        b"{\"execute\":\"query-jobs\"} , ", b"[1 2]", b"@ab \"x\" [] ", b"@\xc3\xa9{}", b"{5:5}", b"{\"a\":1 \"b\":2}",
        b"{\"execute\":\"query-jobs\",\"id\":\"\\ud83d\\ude00\\u00e9\\u0000\x7f\"}", b"\"\\ud83d\\u0041\"", b"\"\\uffff\"",
        b"\"\\u12\"", b"\"\\q\"", b"\"\xc0\x80\"", b"\"\xc3\"", b"\"\xed\xa0\x80\"", b"\"\xff\xfe\"", b"tru ", b"-", b"-x",
        b"-01", b"0e1", b"1.", b"+1", b"1e5", b"}}", b"{\"execute\":\"query-jobs\"}]", b"[}", b"{]", b"{\"x\":{\"y\":[}}}",
        b"\"a\tb\"", b"{\"execute\":\x00\"query-jobs\"}", b"\"abc", b":", b",", b"%", b"{\"execute\":%s}", b"\\", b"/* c */",
        b"{\"execute\":\"query-jobs\",\"id\":[1e5,0.5e-3,-9223372036854775809,1e20,0.1,18446744073709551615,-0]}",
        b"{\"execute\":\"query-jobs\",\"id\":\"\x01\"}",
    ] {
        both.same(text);
    }
    both.same(&b"[".repeat(1025));
}

#[test]
fn random_bytes_are_answered_alike() {
    let Some(mut both) = Both::new(4 << 20) else {
        return;
    };
    let seed = std::env::var("BLOCKJOB_SEED").map_or(1, |text| text.parse().unwrap());
    eprintln!("BLOCKJOB_SEED={seed}");
    let mut state: u64 = seed | 1;
    let mut roll = |sides: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    };
    let pieces: [&[u8]; 40] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b",",
        b"\"",
        b"'",
        b"\\",
        b" ",
        b"\n",
        b"\"execute\"",
        b"\"id\"",
        b"\"query-jobs\"",
        b"\"arguments\"",
        b"\"a\"",
        b"'b'",
        b"0",
        b"-",
        b"12",
        b".5",
        b"e",
        b"E+1",
        b"true",
        b"null",
        b"nul",
        b"x",
        b"@",
        b"\\u00e9",
        b"\\ud83d",
        b"\\ude00",
        b"\\n",
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\xf0\x9f\x98\x80",
        b"\xed\xa0\x80",
        b"\xff",
        b"\x01",
        b"%s",
        b"{\"execute\":\"query-jobs\"}",
    ];
    for _ in 0..600 {
        let mut text = Vec::new();
        for _ in 0..=roll(14) {
            text.extend_from_slice(pieces[roll(pieces.len())]);
        }
        // Whatever is open is closed, so that the next message is one.
        text.extend_from_slice(b"\n");
        text.extend_from_slice(&b"}]".repeat(16));
        both.same(&text);
    }
}
