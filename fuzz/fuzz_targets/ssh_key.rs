//! Whatever stands in the key file is a key or an error that does not quote it.
#![no_main]

#[path = "../bound.rs"]
mod bound;

use edgelabel::encord::auth::Key;
use edgelabel::ids::Secret;

libfuzzer_sys::fuzz_target!(|text: &str| {
    // A passphrase whose derivation is never reached for most inputs: the cost of bcrypt is the key file's to choose.
    if let Err(error) = Key::parse(&Secret::new(text), "fuzzed", None) {
        let shown = error.to_string();
        let quoted = text.split_whitespace().find(|piece| piece.len() > 40 && shown.contains(piece));
        assert!(quoted.is_none(), "the error quotes the key");
    }
});
