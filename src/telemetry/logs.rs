//! Logs: to the journal when systemd runs us, else as text or JSON on stderr; the level can be changed at run time.

use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug` or `trace`, or a filter such as `info,edgelabel::media=debug`.
    pub level: String,
    /// Where to and in which form.
    pub format: Format,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".into(), format: Format::Auto }
    }
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The journal when stderr is connected to it, else text.
    #[default]
    Auto,
    /// Text on stderr.
    Text,
    /// One JSON object a line on stderr.
    Json,
}

impl FromStr for Format {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is none of \"auto\", \"text\" and \"json\"")),
        }
    }
}

impl LogSettings {
    /// Says what is wrong with the level, if anything.
    pub fn check(&self) -> Result<(), String> {
        filter(&self.level).map(drop)
    }
}

/// Changes the level of a running process.
#[derive(Clone)]
pub struct LogControl {
    handle: reload::Handle<EnvFilter, Registry>,
}

impl LogControl {
    /// Begins to log. To be called once, before anything is worth logging.
    pub fn install(settings: &LogSettings) -> Result<Self, String> {
        let (level, handle) = reload::Layer::new(filter(&settings.level)?);
        let output = output(settings.format);
        tracing_subscriber::registry().with(level).with(output).try_init().map_err(|wrong| wrong.to_string())?;
        Ok(Self { handle })
    }

    /// From now on logs at `level`.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        self.handle.reload(filter(level)?).map_err(|wrong| wrong.to_string())
    }
}

type Filtered = tracing_subscriber::layer::Layered<reload::Layer<EnvFilter, Registry>, Registry>;

fn output(format: Format) -> Box<dyn Layer<Filtered> + Send + Sync> {
    // A log on a full disk costs lines of the log. Complaining about that on stderr would panic.
    let stderr = fmt::layer().with_writer(io::stderr).with_target(false).log_internal_errors(false);
    match format {
        Format::Auto if stderr_is_journal() => match tracing_journald::layer() {
            // Our field names are lower-case words of our own; the journal's are upper-case, so they get its prefix.
            Ok(journal) => journal.with_field_prefix(Some("EDGELABEL".into())).with_syslog_identifier("edgelabel".into()).boxed(),
            // Without the journal's socket stderr still ends up there, as plain lines; it stamps them itself.
            Err(_) => stderr.with_ansi(false).without_time().boxed(),
        },
        Format::Auto | Format::Text => stderr.with_ansi(io::stderr().is_terminal()).boxed(),
        Format::Json => fmt::layer()
            .json()
            .log_internal_errors(false)
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_writer(io::stderr)
            .boxed(),
    }
}

/// hyper, rustls and the like speak only when something is wrong, unless they are named in the level.
fn filter(level: &str) -> Result<EnvFilter, String> {
    let is_level = |word: &str| !word.trim().is_empty() && word.trim().parse::<LevelFilter>().is_ok();
    let wrong = |why: &dyn std::fmt::Display| format!("log.level {level:?}: {why}; use error, warn, info, debug, trace or a filter");
    // The parser would take a misspelt level for the name of a module, and log nothing but that.
    if let Some(word) = level.split(',').find(|part| !part.contains('=') && !is_level(part)) {
        return Err(wrong(&format_args!("{word:?} is no level")));
    }
    let directives = if is_level(level) { format!("warn,edgelabel={level}") } else { level.to_owned() };
    EnvFilter::builder().parse(&directives).map_err(|why| wrong(&why))
}

/// systemd names, in `JOURNAL_STREAM`, the device and inode of the stream that it connected to the journal.
fn stderr_is_journal() -> bool {
    let Some((device, inode)) = std::env::var("JOURNAL_STREAM").ok().and_then(|named| {
        let (device, inode) = named.split_once(':')?;
        Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?))
    }) else {
        return false;
    };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|stderr| (stderr.dev(), stderr.ino()) == (device, inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_or_a_filter() {
        for good in ["info", "DEBUG", "off", "info,edgelabel::media=debug", "warn,hyper=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for wrong in ["", "loud", "inof", "info,edgelabel=very"] {
            assert!(filter(wrong).unwrap_err().contains("log.level"), "{wrong}");
        }
    }
}
