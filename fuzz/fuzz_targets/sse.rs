//! Server-sent events: no bytes make the parser panic, and any chunking gives the same events.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_losant::sse::Parser;

fuzz_target!(|input: (u8, &[u8])| {
    let (chunk, bytes) = input;
    let parse = |chunk: usize| {
        let (mut parser, mut events) = (Parser::new(1_024), Vec::new());
        bytes.chunks(chunk).for_each(|chunk| parser.push(chunk, &mut events));
        events
    };
    assert_eq!(parse(usize::from(chunk) + 1), parse(usize::MAX));
});
