//! Dates as Encord writes them.

use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime, UtcOffset};

const LONG: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] UTC");
const LONG_WITHOUT_ZONE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day padding:none] [month repr:short] [year] [hour]:[minute]:[second]");

/// The long form that label rows are saved with: `Thu, 09 Feb 2023 14:12:03 UTC`. Fractions of a second are cut.
pub fn long(at: OffsetDateTime) -> String {
    // Every date that `time` can hold has these components, so formatting cannot fail; the fallback is readable too.
    at.to_offset(UtcOffset::UTC).format(LONG).unwrap_or_else(|_| at.unix_timestamp().to_string())
}

/// Reads the long form with `UTC` or `GMT`, `YYYY-MM-DD HH:MM:SS`, and ISO 8601 with or without fraction and zone.
/// Without a zone it is UTC.
pub fn parse(text: &str) -> Option<OffsetDateTime> {
    let text = text.trim();
    if let Some(bare) = text.strip_suffix("UTC").or_else(|| text.strip_suffix("GMT")) {
        return PrimitiveDateTime::parse(bare.trim_end(), LONG_WITHOUT_ZONE).ok().map(PrimitiveDateTime::assume_utc);
    }
    let (date, clock) = (text.get(..10)?, text.get(11..)?);
    if !matches!(text.as_bytes().get(10), Some(b' ' | b'T' | b't')) {
        return None;
    }
    OffsetDateTime::parse(&format!("{date}T{}", with_zone(clock)?), &Rfc3339).ok().map(|at| at.to_offset(UtcOffset::UTC))
}

/// The time of day with a zone as RFC 3339 wants it.
fn with_zone(clock: &str) -> Option<String> {
    if clock.ends_with(['Z', 'z']) {
        return Some(clock.to_owned());
    }
    let Some(sign) = clock.rfind(['+', '-']) else { return Some(format!("{clock}Z")) };
    let (time, zone) = clock.split_at(sign);
    match zone.len() {
        3 => Some(format!("{time}{zone}:00")),
        5 => Some(format!("{time}{}:{}", zone.get(..3)?, zone.get(3..)?)),
        _ => Some(clock.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use time::macros::datetime;

    #[test]
    fn every_form_that_encord_writes_is_read() {
        let at = datetime!(2023-02-09 14:12:03 UTC);
        for text in [
            "Thu, 09 Feb 2023 14:12:03 UTC",
            "Thu, 09 Feb 2023 14:12:03 GMT",
            "Thu, 9 Feb 2023 14:12:03 GMT",
            "2023-02-09 14:12:03",
            "2023-02-09T14:12:03",
            "2023-02-09T14:12:03Z",
            "2023-02-09T14:12:03+00:00",
            "2023-02-09 14:12:03+00",
            "2023-02-09T15:12:03+0100",
            "2023-02-09T13:12:03-01:00",
        ] {
            assert_eq!(parse(text), Some(at), "{text}");
        }
        assert_eq!(parse("2023-02-09T14:12:03.123456"), Some(datetime!(2023-02-09 14:12:03.123456 UTC)));
        for text in ["", "yesterday", "2023-02-09", "2023-02-30 00:00:00", "äöüäöüäöüäöü", "None"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_written_form_is_the_sdks() {
        assert_eq!(long(datetime!(2023-02-09 15:12:03.9 +1)), "Thu, 09 Feb 2023 14:12:03 UTC");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(seconds in 0i64..4_102_444_800) {
            let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
            prop_assert_eq!(parse(&long(at)), Some(at));
        }

        #[test]
        fn no_text_is_too_odd_to_be_read(text in "\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
