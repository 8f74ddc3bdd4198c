//! The topics of a question laid out flat: every active attribute once, parents before the attributes under their options.

use crate::encord::ontology::{Attribute, AttributeKind, Choice, Topic};
use crate::encord::{Answer, AnswerValue, AttributeAnswer};

use super::choices::{self, Word};

/// One attribute that may be asked.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    /// Index of its topic.
    pub(super) topic: usize,
    /// The attribute itself.
    pub(super) attribute: &'a Attribute,
    /// Its options that are still offered; none for text and numbers.
    pub(super) choices: Vec<&'a Choice>,
    /// What the model calls them.
    pub(super) words: Vec<Word>,
    /// The option it hangs under, if it is not at the top.
    pub(super) under: Option<Under>,
    /// One past the last node below this one.
    pub(super) end: usize,
}

/// The option an attribute hangs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Under {
    /// Node of the radio.
    pub(super) node: usize,
    /// Position among the radio's active options.
    pub(super) choice: usize,
}

/// All attributes of all topics in depth-first order.
#[derive(Debug, Clone)]
pub(super) struct Outline<'a> {
    /// What is asked.
    pub(super) topics: &'a [Topic<'a>],
    /// Depth first: the nodes below node `i` are `i + 1 .. nodes[i].end`.
    pub(super) nodes: Vec<Node<'a>>,
}

/// The values found so far, by node.
pub(super) type Values = Vec<Option<AnswerValue>>;

impl<'a> Outline<'a> {
    /// Lays out `topics`; archived attributes and options are left out with all that hangs under them.
    pub(super) fn new(topics: &'a [Topic<'a>]) -> Self {
        let mut outline = Self { topics, nodes: Vec::new() };
        for (topic, asked) in topics.iter().enumerate() {
            for attribute in &asked.attributes {
                outline.add(topic, attribute, None);
            }
        }
        outline
    }

    fn add(&mut self, topic: usize, attribute: &'a Attribute, under: Option<Under>) {
        if attribute.archived {
            return;
        }
        let index = self.nodes.len();
        let choices: Vec<&Choice> = options(attribute).iter().filter(|choice| !choice.archived).collect();
        let words = choices::words(&choices);
        self.nodes.push(Node { topic, attribute, choices: choices.clone(), words, under, end: index + 1 });
        if matches!(attribute.kind, AttributeKind::Radio(_)) {
            for (position, choice) in choices.iter().enumerate() {
                for nested in &choice.attributes {
                    self.add(topic, nested, Some(Under { node: index, choice: position }));
                }
            }
        }
        self.nodes[index].end = self.nodes.len();
    }

    /// The attributes that hang under no option.
    pub(super) fn roots(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|&index| self.nodes[index].under.is_none()).collect()
    }

    /// The attributes directly under an option of node `parent`.
    pub(super) fn children(&self, parent: usize) -> impl Iterator<Item = usize> + '_ {
        (parent + 1..self.nodes[parent].end).filter(move |&index| self.nodes[index].under.is_some_and(|under| under.node == parent))
    }

    /// Whether node `index` has something to choose from or is free to fill in.
    pub(super) fn is_askable(&self, index: usize) -> bool {
        let node = &self.nodes[index];
        matches!(node.attribute.kind, AttributeKind::Text | AttributeKind::Numeric) || !node.choices.is_empty()
    }

    /// Whether every option above node `index` was chosen in `values`.
    pub(super) fn is_open(&self, index: usize, values: &Values) -> bool {
        let Some(under) = self.nodes[index].under else { return true };
        let wanted = &self.nodes[under.node].choices[under.choice].hash;
        matches!(&values[under.node], Some(AnswerValue::Choice(chosen)) if chosen == wanted) && self.is_open(under.node, values)
    }

    /// The name of an attribute with the names above it, for people: `Weather > Rain`.
    pub(super) fn path(&self, index: usize) -> String {
        let node = &self.nodes[index];
        let own = one_line(&node.attribute.name);
        match node.under {
            Some(under) => format!("{} > {own}", self.path(under.node)),
            // The title of a classification is the name of its attribute; an object class has a name of its own.
            None if self.topics[node.topic].title == node.attribute.name => own,
            None => format!("{} > {own}", one_line(self.topics[node.topic].title)),
        }
    }

    /// The answers in `values`, one for each topic that has any, and the paths of what is open but has none.
    pub(super) fn answers(&self, values: &Values) -> (Vec<Answer>, Vec<String>) {
        let mut answers: Vec<Answer> = Vec::new();
        let mut left_out = Vec::new();
        let mut last_topic = None;
        for (index, node) in self.nodes.iter().enumerate() {
            if !self.is_open(index, values) {
                continue;
            }
            let Some(value) = &values[index] else {
                left_out.push(self.path(index));
                continue;
            };
            if last_topic != Some(node.topic) {
                last_topic = Some(node.topic);
                answers.push(Answer { feature: self.topics[node.topic].feature.clone(), attributes: Vec::new() });
            }
            if let Some(answer) = answers.last_mut() {
                answer.attributes.push(AttributeAnswer { attribute: node.attribute.hash.clone(), value: value.clone() });
            }
        }
        (answers, left_out)
    }
}

fn options(attribute: &Attribute) -> &[Choice] {
    match &attribute.kind {
        AttributeKind::Radio(choices) | AttributeKind::Checklist(choices) => choices,
        AttributeKind::Text | AttributeKind::Numeric => &[],
    }
}

/// `text` with runs of white space as one space, and without characters that do not show.
pub(super) fn one_line(text: &str) -> String {
    let visible: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).filter(|c| !is_invisible(*c)).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Marks without a shape of their own, which would let two names look alike: zero-width characters and text direction.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{00ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
