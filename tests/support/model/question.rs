//! What is asked, wherever in the request it stands: texts, pictures, the schema.

use serde_json::Value;

use super::Picture;
use super::quirks::{Quirks, Sight};
use super::refusal::Complaint;

/// The conversation as read: all its text, and its pictures decoded.
pub(super) struct Prompt {
    pub(super) text: String,
    pub(super) pictures: Vec<Picture>,
    /// The front was cut off, and with it what was asked.
    cut: bool,
}

impl Prompt {
    pub(super) fn read(body: &Value, quirks: &Quirks) -> Result<Self, Complaint> {
        let messages = body["messages"].as_array().filter(|list| !list.is_empty());
        let messages = messages.ok_or_else(|| Complaint::about("messages", "'messages' is missing or empty.".into()))?;
        let mut prompt = Self { text: String::new(), pictures: Vec::new(), cut: false };
        for message in messages {
            if message["role"] == "system" && !quirks.system {
                return Err(Complaint::new(400, "System role not supported"));
            }
            match &message["content"] {
                Value::String(text) => prompt.text.push_str(text),
                Value::Array(parts) => parts.iter().try_for_each(|part| prompt.take_part(part, quirks))?,
                _ => {}
            }
            prompt.text.push('\n');
        }
        prompt.fit(quirks)?;
        Ok(prompt)
    }

    /// Four characters a token, and what pictures cost at OpenAI.
    pub(super) fn tokens(&self) -> usize {
        self.text.len() / 4 + 765 * self.pictures.len()
    }

    fn fit(&mut self, quirks: &Quirks) -> Result<(), Complaint> {
        let (tokens, Some(window)) = (self.tokens(), quirks.window) else { return Ok(()) };
        if tokens <= window.tokens {
            return Ok(());
        }
        if !window.cuts {
            let message = format!("the request exceeds the available context size ({tokens} > {}), try increasing it", window.tokens);
            return Err(Complaint { kind: "exceed_context_size_error", ..Complaint::new(400, &message) });
        }
        self.cut = true;
        Ok(())
    }

    fn take_part(&mut self, part: &Value, quirks: &Quirks) -> Result<(), Complaint> {
        match part["type"].as_str() {
            Some("text") => self.text.push_str(part["text"].as_str().unwrap_or_default()),
            Some("image_url") if quirks.sight == Sight::Refuses => {
                let message = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj";
                return Err(Complaint { kind: "server_error", ..Complaint::new(400, message) });
            }
            Some("image_url") => {
                let link = part["image_url"]["url"].as_str().unwrap_or_default();
                let picture = Picture::from_data_url(link).map_err(|reason| Complaint::about("messages", reason))?;
                if !quirks.picture_types.contains(&picture.mime.as_str()) {
                    return Err(Complaint::new(400, "Failed to load image or audio file"));
                }
                if self.pictures.len() >= quirks.most_pictures {
                    let message = format!("At most {} image(s) may be provided in one prompt.", quirks.most_pictures);
                    return Err(Complaint::new(400, &message));
                }
                if quirks.sight == Sight::Sees {
                    self.pictures.push(picture);
                }
            }
            other => return Err(Complaint::about("messages", format!("Unknown content part {other:?}."))),
        }
        Ok(())
    }
}

/// The schema that the answer is held to, or that the text tells of; none if the model never got to see the question.
pub(super) fn schema(body: &Value, prompt: &Prompt, quirks: &Quirks) -> Option<Value> {
    if prompt.cut {
        return None;
    }
    let format = &body["response_format"]["json_schema"]["schema"];
    let tool = &body["tools"][0]["function"]["parameters"];
    let held = [format, tool].into_iter().find(|schema| schema.is_object() && quirks.constrains);
    held.cloned().or_else(|| schema_in(&prompt.text))
}

fn schema_in(text: &str) -> Option<Value> {
    let starts = text.match_indices('{').map(|(at, _)| at);
    starts
        .filter_map(|at| serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>().next()?.ok())
        .find(|value| value["properties"].is_object())
}
