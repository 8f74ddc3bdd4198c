//! `edgelabel pending`: the answers that wait to be saved, and the pictures that wait to be delivered or labelled.

use std::process::ExitCode;

use serde_json::json;

use super::{ConfigArgument, print};
use crate::journal::{Capture, Error, Journal, Labelling, Pending, State};
use crate::station::Leg;

/// Lists, retries, shows or drops the answers that wait to be saved and the pictures that wait to be delivered or labelled
///
/// An answer waits when Encord could not be reached for the save: the daemon saves it as soon as Encord is back. An
/// answer is refused when Encord would not take it; it is kept, and tried again only by `pending retry`. So it is with the
/// pictures of cameras. One that is delivered and waits for its label loses only that when it is dropped.
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
    /// One line for each answer and picture that waits, oldest first [default]
    List,
    /// Lets what was refused be tried again: one, or all
    Retry {
        /// Id of an entry; all without it
        id: Option<String>,
    },
    /// Everything about one entry, with the answer if one is to be saved
    Show {
        /// Id of the entry
        id: String,
    },
    /// Gives an answer or a picture up, unless it is being saved at this moment
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
            let entries = journal.map_or(Ok(Vec::new()), |journal| all(&journal))?;
            if arguments.json { json_list(&entries)? } else { listed(&entries) }
        }
        Action::Retry { id } => {
            let journal = match (journal, id) {
                (Some(journal), Some(id)) => one(&journal, id).map(|_| Some(journal))?,
                (None, Some(id)) => return no_such(id),
                (journal, None) => journal,
            };
            let (answers, pictures) = journal.map_or(Ok((0, 0)), |journal| retry(&journal, id.as_deref()))?;
            if arguments.json {
                format!("{}\n", json!({ "retried": answers + pictures }))
            } else {
                format!("{} will be tried again\n", counted(answers, pictures))
            }
        }
        Action::Show { id } => {
            let Some(journal) = journal else { return no_such(id) };
            shown(one(&journal, id)?, arguments.json)?
        }
        Action::Drop { id } => match journal.map_or(Ok(false), |journal| give_up(&journal, id))? {
            true if arguments.json => format!("{}\n", json!({ "dropped": id })),
            true => format!("{id} is dropped\n"),
            false => return no_such(id),
        },
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn no_such(id: &str) -> anyhow::Result<ExitCode> {
    Err(Error::NoSuchEntry { id: id.to_owned() }.into())
}

enum Entry {
    Answer(Box<Pending>),
    Picture(Box<Capture>),
}

fn all(journal: &Journal) -> Result<Vec<Entry>, Error> {
    let answers = journal.pending()?.into_iter().map(|answer| Entry::Answer(answer.into()));
    Ok(answers.chain(journal.captures()?.into_iter().map(|picture| Entry::Picture(picture.into()))).collect())
}

fn one(journal: &Journal, id: &str) -> Result<Entry, Error> {
    match journal.entry(id) {
        Err(Error::NoSuchEntry { .. }) => journal.capture(id).map(|picture| Entry::Picture(picture.into())),
        answer => answer.map(|answer| Entry::Answer(answer.into())),
    }
}

/// Says how many answers and how many pictures.
fn retry(journal: &Journal, id: Option<&str>) -> Result<(usize, usize), Error> {
    Ok((journal.retry(id)?, journal.retry_captures(id)?))
}

fn give_up(journal: &Journal, id: &str) -> Result<bool, Error> {
    Ok(journal.give_up(id)? || journal.give_up_capture(id)?)
}

fn counted(answers: usize, pictures: usize) -> String {
    let count = |count: usize, what: &str| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
    match (answers, pictures) {
        (answers, 0) => count(answers, "answer"),
        (0, pictures) => count(pictures, "picture"),
        _ => format!("{} and {}", count(answers, "answer"), count(pictures, "picture")),
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Waiting => "waiting",
        State::Refused => "refused",
    }
}

fn rfc3339(when: time::OffsetDateTime) -> String {
    when.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

fn listed(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "nothing waits\n".into();
    }
    entries.iter().map(line).collect()
}

fn line(entry: &Entry) -> String {
    let (mut text, attempts, error) = match entry {
        Entry::Answer(entry) => {
            let Pending { id, project, data, frame, agent, since, attempts, error, .. } = entry.as_ref();
            let (state, since) = (state(entry.state), rfc3339(*since));
            (format!("{id}  {state}  since {since}  project {project}  data {data}  frame {frame}  agent {agent}\n"), attempts, error)
        }
        Entry::Picture(entry) => {
            let Capture { id, camera, dataset, title, bytes, leg, labelling, delivered, since, attempts, error, .. } = entry.as_ref();
            let (state, since, leg) = (state(entry.state), rfc3339(*since), Leg::word(leg));
            let text = match labelling {
                Some(Labelling { agent, project }) if *delivered => {
                    format!("{id}  {state}  since {since}  label of picture {title} of {camera}  project {project}  agent {agent}\n")
                }
                _ => format!("{id}  {state}  since {since}  picture {title} of {camera}, {bytes} bytes, {leg}  dataset {dataset}\n"),
            };
            (text, attempts, error)
        }
    };
    if !error.is_empty() {
        text += &format!("              tried {attempts}×: {error}\n");
    }
    text
}

fn json_list(entries: &[Entry]) -> anyhow::Result<String> {
    let values = entries.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("{}\n", serde_json::to_string_pretty(&values)?))
}

/// A picture has the keys of an answer too, so that a reader finds them. Its upload link is shown to nobody.
fn value(entry: &Entry) -> Result<serde_json::Value, serde_json::Error> {
    match entry {
        Entry::Answer(entry) => serde_json::to_value(entry),
        Entry::Picture(entry) => Ok(json!({
            "id": entry.id,
            "project": entry.labelling.as_ref().map(|labelling| &labelling.project),
            "data": Leg::data(&entry.leg),
            "frame": null,
            "agent": entry.labelling.as_ref().map(|labelling| &labelling.agent),
            "camera": entry.camera,
            "folder": entry.folder,
            "dataset": entry.dataset,
            "title": entry.title,
            "bytes": entry.bytes,
            "step": Leg::word(&entry.leg),
            "state": entry.state,
            "since": rfc3339(entry.since),
            "attempts": entry.attempts,
            "error": entry.error,
        })),
    }
}

fn shown(entry: Entry, json: bool) -> anyhow::Result<String> {
    let mut whole = value(&entry)?;
    if let (Entry::Answer(entry), Some(keys)) = (&entry, whole.as_object_mut()) {
        let order = serde_json::from_str(&entry.payload).unwrap_or_else(|_| json!(entry.payload));
        keys.insert("order".into(), order);
    }
    let text = serde_json::to_string_pretty(&whole)?;
    Ok(if json { format!("{text}\n") } else { format!("{}{text}\n", line(&entry)) })
}
