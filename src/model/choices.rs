//! The words a model chooses from: an option's label where it can stand for itself, otherwise something close to it.

use std::collections::HashSet;

use crate::encord::ontology::Choice;

use super::outline::one_line;

/// Longer labels are cut, and explained beside the question.
const LONGEST: usize = 120;

/// Characters that OpenAI's strict mode does not allow in the values of an enum, with what is written instead.
const UNWRITABLE: [(char, char); 2] = [('"', '\''), ('\\', '/')];

/// A choice as the model sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Unique among the attribute's choices.
    pub(super) text: String,
    /// What `text` stands for, where it does not say it itself.
    pub(super) meaning: Option<String>,
}

/// One word for each choice, all different, each the label itself wherever possible.
pub(super) fn words(choices: &[&Choice]) -> Vec<Word> {
    let labels: Vec<String> = choices.iter().map(|choice| one_line(&choice.label)).collect();
    let mut times = std::collections::HashMap::new();
    for label in &labels {
        *times.entry(label.as_str()).or_insert(0_u32) += 1;
    }
    // Labels that stand for themselves come first, so that no made-up word takes their place.
    let plain = |label: &str| !label.is_empty() && times[label] == 1 && cut(label) == label;
    let mut taken: HashSet<String> = labels.iter().filter(|label| plain(label)).cloned().collect();
    let mut words = Vec::with_capacity(choices.len());
    for (position, (label, choice)) in labels.iter().zip(choices).enumerate() {
        let word = if plain(label) { Word { text: label.clone(), meaning: None } } else { made_up(label, choice, position, &mut taken) };
        words.push(word);
    }
    words
}

fn made_up(label: &str, choice: &Choice, position: usize, taken: &mut HashSet<String>) -> Word {
    let stored = one_line(&choice.value);
    let stem = match (label, stored.as_str()) {
        ("", "") => format!("option {}", position + 1),
        ("", stored) => cut(stored),
        (label, _) => cut(label),
    };
    let text = distinct(stem, taken);
    let said = if label.is_empty() { stored.as_str() } else { label };
    // The stored value is what tells two options with one label apart, if anything does.
    let meaning = match (said, stored.as_str()) {
        ("", _) => None,
        (said, stored) if said == stored || stored.is_empty() || cut(said) != said => Some(said.to_owned()),
        (said, stored) => Some(format!("{said}, stored as {}", cut(stored))),
    };
    Word { text: text.clone(), meaning: meaning.filter(|meaning| *meaning != text) }
}

fn distinct(stem: String, taken: &mut HashSet<String>) -> String {
    let mut text = stem.clone();
    let mut number = 1;
    while !taken.insert(text.clone()) {
        number += 1;
        text = format!("{stem} ({number})");
    }
    text
}

/// `text` as far as it can be written into an enum.
fn cut(text: &str) -> String {
    let writable = |c: char| UNWRITABLE.iter().find(|(from, _)| *from == c).map_or(c, |(_, to)| *to);
    if text.chars().count() <= LONGEST {
        return text.chars().map(writable).collect();
    }
    text.chars().map(writable).take(LONGEST - 1).chain(['…']).collect()
}

/// The word that `said` means: the very same, or the only one that differs in case and spacing alone
/// or was too long to be shown whole.
pub(super) fn find(words: &[Word], said: &str) -> Option<usize> {
    if let Some(exact) = words.iter().position(|word| word.text == said) {
        return Some(exact);
    }
    let folded = fold(said);
    let mut near = words
        .iter()
        .enumerate()
        .filter(|(_, word)| fold(&word.text) == folded || word.meaning.as_ref().is_some_and(|meaning| fold(meaning) == folded));
    match (near.next(), near.next()) {
        (Some((position, _)), None) => Some(position),
        _ => None,
    }
}

/// Case and spacing taken away.
pub(super) fn fold(text: &str) -> String {
    one_line(text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::FeatureNodeHash;

    fn choice(label: &str, value: &str) -> Choice {
        Choice { hash: FeatureNodeHash::new(""), label: label.into(), value: value.into(), archived: false, attributes: Vec::new() }
    }

    fn of(labels: &[(&str, &str)]) -> Vec<Word> {
        let choices: Vec<Choice> = labels.iter().map(|(label, value)| choice(label, value)).collect();
        words(&choices.iter().collect::<Vec<_>>())
    }

    fn texts(labels: &[(&str, &str)]) -> Vec<String> {
        of(labels).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn labels_that_differ_stay_as_they_are() {
        let labels = [("C", "c"), ("C++", "c"), ("C#", "c"), ("c", "c"), ("天気", ""), ("'a/b' {c}", "")];
        assert_eq!(texts(&labels), labels.map(|(label, _)| label));
        assert!(of(&labels).iter().all(|word| word.meaning.is_none()));
    }

    #[test]
    fn equal_empty_and_long_labels_get_words_of_their_own() {
        assert_eq!(texts(&[("Car", "a"), ("Car", "b"), ("Car (2)", "c"), ("Ca\u{200b}r", "d")]), ["Car", "Car (3)", "Car (2)", "Car (4)"]);
        assert_eq!(of(&[("Car", "a"), ("Car", "b")])[1].meaning.as_deref(), Some("Car, stored as b"));
        assert_eq!(texts(&[("", "blue_sky"), (" ", ""), ("\t", "")]), ["blue_sky", "option 2", "option 3"]);
        let quoted = of(&[("12\" wheel\\tyre", ""), ("12' wheel/tyre", "")]);
        assert_eq!((quoted[0].text.as_str(), quoted[0].meaning.as_deref()), ("12' wheel/tyre (2)", Some("12\" wheel\\tyre")));
        assert_eq!((quoted[1].text.as_str(), quoted[1].meaning.as_deref()), ("12' wheel/tyre", None));
        let long = "x".repeat(500);
        let words = of(&[(&long, ""), (&format!("{long}y"), "")]);
        assert!(words.iter().all(|word| word.text.chars().count() <= LONGEST + 4));
        assert_ne!(words[0].text, words[1].text);
        assert_eq!(words[0].meaning.as_deref(), Some(long.as_str()));
    }

    #[test]
    fn a_choice_is_recognised_by_case_and_spacing_only_where_that_is_unique() {
        let words = of(&[("Road works", ""), ("C", ""), ("c", "")]);
        assert_eq!(find(&words, " road  WORKS "), Some(0));
        assert_eq!((find(&words, "C"), find(&words, "c"), find(&words, " c")), (Some(1), Some(2), None));
        assert_eq!(find(&words, "Roadworks"), None);
    }
}
