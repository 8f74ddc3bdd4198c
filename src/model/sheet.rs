//! One call's worth of questions: which attributes fit into it, under which keys, with which words to choose from.

use std::collections::HashSet;

use crate::encord::AnswerValue;
use crate::encord::ontology::AttributeKind;

use super::choices::Word;
use super::outline::{Outline, Values, one_line};

/// Properties of one schema: what older deployments at Azure take; current ones take 5,000.
pub(super) const MAX_PROPERTIES: usize = 100;
/// Values of all enums of one schema together.
pub(super) const MAX_ENUM_VALUES: usize = 1_000;
/// An enum of more values than this …
pub(super) const LARGE_ENUM: usize = 250;
/// … may hold this many characters.
pub(super) const LARGE_ENUM_CHARACTERS: usize = 15_000;
/// Characters of all property names and enum values of one schema together.
pub(super) const MAX_CHARACTERS: usize = 120_000;

/// What the answer to one question looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    /// Free text.
    Text,
    /// A number.
    Number,
    /// One of the words, or any number of them.
    Words {
        /// What to choose from.
        words: Vec<Word>,
        /// A checklist.
        many: bool,
    },
    /// As `Words`, but there are too many to list in a schema: answered by their numbers, counted from 1.
    Numbered {
        /// What the numbers stand for.
        words: Vec<Word>,
        /// A checklist.
        many: bool,
    },
}

/// One question of a call.
#[derive(Debug, Clone)]
pub(super) struct Field {
    /// The attribute's node in the outline.
    pub(super) node: usize,
    /// Property name: short, ASCII, unique in the call.
    pub(super) key: String,
    /// The attribute's title.
    pub(super) title: String,
    /// The object class, where the title alone does not say what is asked about.
    pub(super) of: Option<String>,
    /// The question and the option it hangs under; whether that question is asked in this same call.
    pub(super) only_if: Option<Condition>,
    /// `null` is an answer.
    pub(super) nullable: bool,
    /// What an answer looks like.
    pub(super) shape: Shape,
}

/// What must have been answered elsewhere for a question to be asked.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    /// Title of the question above.
    pub(super) title: String,
    /// The option that must be chosen there.
    pub(super) choice: String,
    /// Key of the question above, if it is part of the same call; otherwise it is answered already.
    pub(super) key: Option<String>,
}

/// The questions of one call, parents before children.
#[derive(Debug, Clone)]
pub(super) struct Sheet {
    /// At least one.
    pub(super) fields: Vec<Field>,
}

impl Sheet {
    /// Takes as many of the `pending` trees as fit, whole ones if possible, and removes them from `pending`. Of a tree
    /// that is too large for any call the upper part is taken; the rest follows once its options are chosen.
    pub(super) fn next(outline: &Outline<'_>, pending: &mut Vec<usize>) -> Option<Self> {
        let mut room = Room::default();
        let mut chosen = Vec::new();
        let mut taken = 0;
        for &root in pending.iter() {
            let tree: Vec<usize> = (root..outline.nodes[root].end).filter(|&node| outline.is_askable(node)).collect();
            if room.take(outline, &tree) {
                chosen.extend(tree);
            } else if chosen.is_empty() {
                chosen = upper_part(outline, root, &mut room);
            } else {
                break;
            }
            taken += 1;
        }
        pending.drain(..taken);
        if chosen.is_empty() { None } else { Some(Self { fields: fields(outline, &chosen) }) }
    }

    /// The attributes that become due through `values` but were not part of this sheet.
    pub(super) fn follow_up(&self, outline: &Outline<'_>, values: &Values) -> Vec<usize> {
        let asked: HashSet<usize> = self.fields.iter().map(|field| field.node).collect();
        let below = self.fields.iter().flat_map(|field| outline.children(field.node));
        below.filter(|&node| !asked.contains(&node) && outline.is_askable(node) && outline.is_open(node, values)).collect()
    }
}

/// What one schema has taken up of the limits.
#[derive(Debug, Clone, Default)]
struct Room {
    properties: usize,
    values: usize,
    characters: usize,
}

impl Room {
    /// Takes all of `nodes` or none of them.
    fn take(&mut self, outline: &Outline<'_>, nodes: &[usize]) -> bool {
        let mut wanted = self.clone();
        for &node in nodes {
            let words = &outline.nodes[node].words;
            wanted.properties += 1;
            wanted.characters += KEY_LENGTH;
            if fits_an_enum(words) {
                wanted.values += words.len();
                wanted.characters += words.iter().map(|word| word.text.chars().count()).sum::<usize>();
            }
        }
        let fits = wanted.properties <= MAX_PROPERTIES && wanted.values <= MAX_ENUM_VALUES && wanted.characters <= MAX_CHARACTERS;
        if fits {
            *self = wanted;
        }
        fits
    }
}

/// The nodes of a tree from its root downwards, level by level, until the room is full.
fn upper_part(outline: &Outline<'_>, root: usize, room: &mut Room) -> Vec<usize> {
    let mut chosen = Vec::new();
    let mut level = vec![root];
    while !level.is_empty() {
        for &node in &level {
            if !room.take(outline, &[node]) {
                chosen.sort_unstable();
                return chosen;
            }
            chosen.push(node);
        }
        level = level.iter().flat_map(|&node| outline.children(node)).filter(|&node| outline.is_askable(node)).collect();
    }
    chosen.sort_unstable();
    chosen
}

fn fits_an_enum(words: &[Word]) -> bool {
    let characters: usize = words.iter().map(|word| word.text.chars().count()).sum();
    words.len() <= LARGE_ENUM || (words.len() <= MAX_ENUM_VALUES && characters <= LARGE_ENUM_CHARACTERS)
}

fn fields(outline: &Outline<'_>, chosen: &[usize]) -> Vec<Field> {
    let mut keys = HashSet::new();
    let mut fields: Vec<Field> = Vec::with_capacity(chosen.len());
    for &index in chosen {
        let node = &outline.nodes[index];
        let title = title(outline, index);
        let topic = &outline.topics[node.topic];
        let only_if = node.under.map(|under| Condition {
            title: self::title(outline, under.node),
            choice: outline.nodes[under.node].words[under.choice].text.clone(),
            key: fields.iter().find(|field| field.node == under.node).map(|field| field.key.clone()),
        });
        let words = node.words.clone();
        let many = matches!(node.attribute.kind, AttributeKind::Checklist(_));
        let shape = match node.attribute.kind {
            AttributeKind::Text => Shape::Text,
            AttributeKind::Numeric => Shape::Number,
            _ if fits_an_enum(&words) => Shape::Words { words, many },
            _ => Shape::Numbered { words, many },
        };
        fields.push(Field {
            node: index,
            key: key(&title, &mut keys),
            of: (topic.title != node.attribute.name && node.under.is_none()).then(|| one_line(topic.title)),
            // A required text can always be answered, if only by an empty one; anything else may be impossible to tell.
            nullable: !(node.attribute.required && only_if.is_none() && shape == Shape::Text),
            title,
            only_if,
            shape,
        });
    }
    fields
}

fn title(outline: &Outline<'_>, index: usize) -> String {
    let name = one_line(&outline.nodes[index].attribute.name);
    if name.is_empty() { "(question without a title)".into() } else { name }
}

/// Longest key, with the number that makes it unique.
const KEY_LENGTH: usize = 32;

/// A property name that reads like the title where the title has ASCII letters: `scene_description`, `color_2`, `q`.
fn key(title: &str, taken: &mut HashSet<String>) -> String {
    let mut stem = String::new();
    for c in title.chars() {
        match c {
            'a'..='z' | '0'..='9' => stem.push(c),
            'A'..='Z' => stem.push(c.to_ascii_lowercase()),
            _ if !stem.is_empty() && !stem.ends_with('_') => stem.push('_'),
            _ => {}
        }
        if stem.len() >= 24 {
            break;
        }
    }
    let stem = stem.trim_end_matches('_');
    let stem = if stem.starts_with(|c: char| c.is_ascii_alphabetic()) { stem.to_owned() } else { format!("q{stem}") };
    let mut key = stem.clone();
    let mut number = 1;
    while !taken.insert(key.clone()) {
        number += 1;
        key = format!("{stem}_{number}");
    }
    key
}

/// The option words of a field with the chosen hashes: how an answer leads back to the ontology.
pub(super) fn chosen(outline: &Outline<'_>, node: usize, many: bool, mut positions: Vec<usize>) -> Option<AnswerValue> {
    let choices = &outline.nodes[node].choices;
    positions.sort_unstable();
    positions.dedup();
    let mut hashes: Vec<_> = positions.into_iter().filter_map(|position| Some(choices.get(position)?.hash.clone())).collect();
    if many { Some(AnswerValue::Choices(hashes)) } else { hashes.pop().map(AnswerValue::Choice) }
}
