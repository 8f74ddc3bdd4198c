//! `edgelabel pending`: the answers that wait to be saved.

use std::process::ExitCode;

use serde_json::json;

use super::{ConfigArgument, print};
use crate::journal::{Journal, Pending, State};

/// Lists, retries, shows or drops the answers that wait to be saved
///
/// An answer waits when Encord could not be reached for the save: the daemon saves it as soon as Encord is back. An
/// answer is refused when Encord would not take it; it is kept, and tried again only by `pending retry`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 done, 1 no such entry or the journal cannot be read, 78 wrong configuration.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Print JSON on stdout
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// One line for each answer that waits, oldest first [default]
    List,
    /// Lets refused answers be tried again: one, or all
    Retry {
        /// Id of an entry; all without it
        id: Option<String>,
    },
    /// Everything about one entry, with the answer that is to be saved
    Show {
        /// Id of the entry
        id: String,
    },
    /// Gives an answer up, unless it is being saved at this moment
    Drop {
        /// Id of the entry
        id: String,
    },
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = arguments.config.load()?.journal();
    // Opening would make the file, perhaps as a user whose files the daemon cannot write.
    let journal = if settings.path.exists() { Some(Journal::to_inspect(settings)) } else { None };
    let text = match arguments.action.as_ref().unwrap_or(&Action::List) {
        Action::List => {
            let entries = journal.map_or(Ok(Vec::new()), |journal| journal.pending())?;
            if arguments.json { format!("{}\n", serde_json::to_string_pretty(&entries)?) } else { listed(&entries) }
        }
        Action::Retry { id } => {
            let journal = match (journal, id) {
                (Some(journal), Some(id)) => journal.entry(id).map(|_| Some(journal))?,
                (None, Some(id)) => return no_such(id),
                (journal, None) => journal,
            };
            let count = journal.map_or(Ok(0), |journal| journal.retry(id.as_deref()))?;
            if arguments.json { format!("{}\n", json!({ "retried": count })) } else { format!("{} will be tried again\n", counted(count)) }
        }
        Action::Show { id } => {
            let Some(journal) = journal else { return no_such(id) };
            shown(&journal.entry(id)?, arguments.json)?
        }
        Action::Drop { id } => match journal.map_or(Ok(false), |journal| journal.give_up(id))? {
            true if arguments.json => format!("{}\n", json!({ "dropped": id })),
            true => format!("{id} is dropped\n"),
            false => return no_such(id),
        },
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn no_such(id: &str) -> anyhow::Result<ExitCode> {
    Err(crate::journal::Error::NoSuchEntry { id: id.to_owned() }.into())
}

fn counted(count: usize) -> String {
    if count == 1 { "1 answer".into() } else { format!("{count} answers") }
}

fn state(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Refused => "refused",
    }
}

fn listed(entries: &[Pending]) -> String {
    if entries.is_empty() {
        return "nothing waits\n".into();
    }
    let mut text = String::new();
    for entry in entries {
        let Pending { id, project, data, frame, agent, since, attempts, error, .. } = entry;
        let when = since.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
        text += &format!("{id}  {}  since {when}  project {project}  data {data}  frame {frame}  agent {agent}\n", state(entry.state));
        if !error.is_empty() {
            text += &format!("              tried {attempts}×: {error}\n");
        }
    }
    text
}

fn shown(entry: &Pending, json: bool) -> anyhow::Result<String> {
    let mut whole = serde_json::to_value(entry)?;
    let order = serde_json::from_str(&entry.payload).unwrap_or_else(|_| json!(entry.payload));
    if let Some(keys) = whole.as_object_mut() {
        keys.insert("order".into(), order);
    }
    let text = serde_json::to_string_pretty(&whole)?;
    Ok(if json { format!("{text}\n") } else { format!("{}{text}\n", listed(std::slice::from_ref(entry))) })
}
