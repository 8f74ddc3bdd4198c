//! The words around the picture: who is asked, what about, and how to answer.

use serde_json::Value;

use super::facade::Question;
use super::outline::one_line;
use super::schema::describe;
use super::sheet::{Field, Shape, Sheet};

/// The built-in instructions. Same variables as a template of an agent's own.
const BUILT_IN: &str = "\
You are an expert annotator of images. You look at one picture of a labelling project and answer the questions of its ontology, \
so that a person only has to check your answers.
Answer from what is visible in the picture alone: do not guess at what is outside of it, at names of persons, or at what happened before or after. \
Be precise and sober. Where the picture does not tell, say so in the way the question allows, rather than inventing an answer.";

/// What a model is told in one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    /// The system message.
    pub(super) system: String,
    /// The text beside the pictures.
    pub(super) user: String,
}

/// The prompt for one sheet. `schema` is spelt out for endpoints that take none.
pub(super) fn prompt(question: &Question<'_>, sheet: &Sheet, schema: Option<&Value>) -> Prompt {
    Prompt { system: system(question), user: user(question, sheet, schema) }
}

fn system(question: &Question<'_>) -> String {
    let own = question.template.trim();
    let mut text = fill(if own.is_empty() { BUILT_IN } else { own }, question);
    let instructions = question.instructions.trim();
    if !instructions.is_empty() && !own.contains("{instructions}") {
        text.push_str("\n\nInstructions of the project:\n");
        text.push_str(&fill(instructions, question));
    }
    if !question.language.trim().is_empty() && !own.contains("{language}") {
        text.push_str(&format!("\n\nWrite free text in this language: {}. Choices stay as they are spelt.", one_line(question.language)));
    }
    text.push_str(
        "\n\nReply with one JSON object and nothing else: no explanation, no code fence, no list around it. \
         It has exactly the keys of the questions. Spell choices exactly as they are listed.",
    );
    text
}

fn user(question: &Question<'_>, sheet: &Sheet, schema: Option<&Value>) -> String {
    let mut text = String::new();
    // A template of one's own says what it wants to say about the item.
    if question.template.trim().is_empty() {
        for (name, value) in
            [("Project", bare_title(question.project_title)), ("Item", bare_title(question.data_title)), ("Frame", frame(question))]
        {
            if !value.is_empty() {
                text.push_str(&format!("{name}: {value}\n"));
            }
        }
    }
    if question.pictures.len() > 1 {
        text.push_str(&format!("There are {} pictures.\n", question.pictures.len()));
    }
    text.push_str("Questions, each with the key of its answer:\n");
    for field in &sheet.fields {
        text.push_str(&format!("- {}: {}{}\n", field.key, describe(field), listed(field)));
    }
    if let Some(schema) = schema {
        text.push_str(&format!("The JSON object must be valid against this JSON Schema:\n{schema}\n"));
    }
    text
}

/// The choices, for endpoints that constrain the answer without showing the schema to the model.
fn listed(field: &Field) -> String {
    let Shape::Words { words, .. } = &field.shape else { return String::new() };
    let quoted: Vec<String> = words.iter().map(|word| Value::from(word.text.as_str()).to_string()).collect();
    format!(" Choices: {}.", quoted.join(", "))
}

fn frame(question: &Question<'_>) -> String {
    question.frame.map(|frame| frame.to_string()).unwrap_or_default()
}

/// Puts the variables in, in one pass, so that a brace in a title stays a brace. Unknown names stay as written.
fn fill(template: &str, question: &Question<'_>) -> String {
    let mut text = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        text.push_str(&rest[..open]);
        rest = &rest[open..];
        match rest.find('}').and_then(|close| Some((variable(&rest[1..close], question)?, close))) {
            Some((value, close)) => {
                text.push_str(&value);
                rest = &rest[close + 1..];
            }
            None => {
                text.push('{');
                rest = &rest[1..];
            }
        }
    }
    text.push_str(rest);
    text
}

fn variable(name: &str, question: &Question<'_>) -> Option<String> {
    Some(match name {
        "project" => bare_title(question.project_title),
        "classification" => question.topics.iter().map(|topic| one_line(topic.title)).collect::<Vec<_>>().join(", "),
        "data" => bare_title(question.data_title),
        "frame" => frame(question),
        "language" => one_line(question.language),
        "instructions" => question.instructions.trim().to_owned(),
        _ => return None,
    })
}

/// A title without what must not reach a model: links with their signatures, and identifiers. At most 200 characters.
fn bare_title(title: &str) -> String {
    let words: Vec<String> = one_line(title).split(' ').map(bare_word).filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(200).collect()
}

fn bare_word(word: &str) -> String {
    let word = match word.split_once("://") {
        // Of a link only the file's name is worth telling.
        Some((_, link)) => link.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default(),
        None => word,
    };
    without_uuids(word)
}

fn without_uuids(word: &str) -> String {
    const LENGTH: usize = 36;
    let mut text = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let uuid = rest.get(..LENGTH).is_some_and(|start| start.parse::<crate::ids::DataHash>().is_ok());
        let step = if uuid { LENGTH } else { rest.chars().next().map_or(1, char::len_utf8) };
        if !uuid {
            text.push_str(&rest[..step]);
        }
        rest = &rest[step..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encord::ontology::{Attribute, AttributeKind, Topic};
    use crate::ids::{FeatureNodeHash, ProjectHash};
    use crate::model::outline::Outline;

    fn system_for(template: &str, instructions: &str, language: &str) -> String {
        let attribute = Attribute {
            hash: FeatureNodeHash::new("h"),
            name: "Scene {data}".into(),
            required: true,
            archived: false,
            dynamic: false,
            kind: AttributeKind::Text,
        };
        let topics = [Topic { feature: &attribute.hash, title: &attribute.name, attributes: vec![&attribute] }];
        let project: ProjectHash = "11111111-2222-3333-4444-555555555555".parse().unwrap();
        let question = Question {
            project: &project,
            project_title: "Roads",
            data_title: "https://store.example/a/drive.mp4?X-Amz-Signature=abc",
            frame: Some(7),
            instructions,
            template,
            language,
            topics: &topics,
            pictures: &[],
        };
        let outline = Outline::new(&topics);
        prompt(&question, &Sheet::next(&outline, &mut outline.roots()).unwrap(), None).system
    }

    #[test]
    fn a_template_is_filled_in_one_pass() {
        let text = system_for("{project}|{classification}|{data}|{frame}|{language}|{instructions}|{what}|{", "Say {project}.", "German");
        assert!(text.starts_with("Roads|Scene {data}|drive.mp4|7|German|Say {project}.|{what}|{\n"), "{text}");
        assert!(text.contains("one JSON object"));
    }

    #[test]
    fn instructions_and_language_are_added_to_the_built_in_prompt() {
        let text = system_for("", "Name the {classification} of {data}.", "German");
        assert!(text.starts_with("You are an expert annotator"));
        assert!(text.contains("Name the Scene {data} of drive.mp4.") && text.contains("in this language: German"));
        assert!(!system_for("", "", "").contains("Instructions") && !system_for("", "", "").contains("language"));
    }

    #[test]
    fn links_and_identifiers_in_titles_stay_at_home() {
        assert_eq!(bare_title("s3://bucket/a/clip.mp4#t=3 (copy)"), "clip.mp4 (copy)");
        assert_eq!(bare_title("cam-027e0c65-c53f-426d-9f02-04fafe8bd80e.mp4"), "cam-.mp4");
        assert_eq!(bare_title("027e0c65-c53f-426d-9f02-04fafe8bd80e"), "");
        assert_eq!(bare_title(" Züri \n 天気 "), "Züri 天気");
        assert_eq!(bare_title(&"ü".repeat(999)).chars().count(), 200);
    }
}
